//! dkimpy, the verifier of other people: takes a message and the keys' records, and says which signatures hold.

use std::path::PathBuf;
use std::process::Command;

use waybill::rewrite::DkimSigner;

use super::tools;

/// Names the records as the name system would, and verifies each signature from the top.
const SCRIPT: &str = "import sys, dkim\n\
    message = sys.stdin.buffer.read()\n\
    records = dict(line.split(' ', 1) for line in sys.argv[1:])\n\
    find = lambda name, timeout=5: records.get(name.decode().rstrip('.'), '').encode()\n\
    verifier = dkim.DKIM(message)\n\
    def verify(i):\n\
    \x20   try: return verifier.verify(idx=i, dnsfunc=find)\n\
    \x20   except dkim.DKIMException: return False\n\
    count = sum(1 for name, _ in verifier.headers if name.lower() == b'dkim-signature')\n\
    print([verify(i) for i in range(count)])\n";

/// A Python that has dkimpy.
pub struct Verifier(PathBuf);

impl Verifier {
    /// `None`, and a line that says why, where there is none.
    pub fn find() -> Option<Verifier> {
        let python = tools::find("python3")?;
        // A package of the system is for the system's own Python.
        let has = |python: &PathBuf| {
            let output = Command::new(python).args(["-c", "import dkim, nacl"]).output();
            output.is_ok_and(|output| output.status.success())
        };
        let found = [python, "/usr/bin/python3".into()].into_iter().find(has);
        if found.is_none() {
            tools::skip("dkimpy is not installed for python3 (tests/run does it)");
        }
        found.map(Verifier)
    }

    /// As Python shows a list: `[True, False]`, one for each `DKIM-Signature`.
    pub fn verify(&self, message: &[u8], signers: &[DkimSigner]) -> String {
        let records = signers.iter().map(|s| format!("{} {}", s.dns_name(), s.dns_txt()));
        let mut command = Command::new(&self.0);
        tools::run(command.args(["-c", SCRIPT]).args(records), message).trim().to_owned()
    }
}
