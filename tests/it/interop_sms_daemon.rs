//! SMS from end to end: the vendors' own libraries send through the real daemon, and an application's
//! server that believes nothing but what the vendors' own validators accept hears what became of it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::sms_app::callback;
use crate::support::sms_provider::{ACCOUNT_SID, AUTH_TOKEN, Asked, SmsProvider};
use crate::support::tools;

const PATIENCE: Duration = Duration::from_secs(60);
const TWILIO_USER: &str = "AC00112233445566778899aabbccddeeff";
const SECRET: &str = "s3cret+/&=% x";
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TEXT: &str = "Hej æ & co 100% = \"INV-12345\" <b> 😀";
/// The number of each app, and the dialect in which it takes messages.
const APPS: [(&str, &str); 5] = [
    ("twilio", "+4521000001"),
    ("vonage", "+4521000002"),
    ("gatewayapi", "+4521000003"),
    ("waybill", "+4521000004"),
    ("kannel", "+4521000005"),
];

/// An application's server in another language; it ends when it is dropped.
struct Receiver {
    process: Child,
    base: String,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Receiver {
    fn start(mut command: Command) -> Receiver {
        let vonage = json!({"key": "erp", "secret": SECRET, "method": "sha256"});
        let secrets = json!({
            "twilio": SECRET, "vonage": vonage, "gatewayapi": SIGNING, "waybill": SIGNING, "flow": SIGNING,
        });
        let command = command.env("SECRETS", secrets.to_string()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        let heard = Arc::<Mutex<Vec<Value>>>::default();
        let told = heard.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                told.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Receiver { process, base: format!("http://127.0.0.1:{port}"), heard }
    }

    /// The fields of what was believed at this path, when `is` says that it is this one.
    fn wait_for(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = || {
            let heard = self.heard.lock().unwrap();
            let found = heard.iter().find(|one| one["path"] == path && is(&one["fields"]));
            found.map(|one| one["fields"].clone())
        };
        wait(found, || format!("nothing like it at {path}: {:?}", self.heard.lock().unwrap()))
    }
}

fn wait<T>(found: impl Fn() -> Option<T>, otherwise: impl Fn() -> String) -> T {
    let began = Instant::now();
    loop {
        match found() {
            Some(value) => return value,
            None if began.elapsed() > PATIENCE => panic!("{}", otherwise()),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

struct House {
    daemon: Daemon,
    provider: SmsProvider,
    python: Receiver,
    node: Receiver,
    programs: Programs,
    _runtime: tokio::runtime::Runtime,
}

struct Programs {
    python: PathBuf,
    node: PathBuf,
    modules: PathBuf,
}

impl Programs {
    /// `None` after saying what is missing.
    fn find() -> Option<Programs> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("sms_clients");
        let python = target.join("python/bin/python");
        let modules = target.join("node/node_modules");
        let node = tools::find("node")?;
        let mut has_libraries = Command::new(&python);
        has_libraries.args(["-c", "import twilio, vonage, nexmo, requests, jwt, standardwebhooks"]);
        let has_python = has_libraries.output().is_ok_and(|output| output.status.success());
        let wanted = ["twilio", "@vonage/server-sdk", "nexmo"];
        if !has_python || wanted.iter().any(|name| !modules.join(name).is_dir()) {
            tools::skip(
                "the SMS vendors' libraries are not installed (tests/sms_clients/install does it)",
            );
            return None;
        }
        Some(Programs { python, node, modules })
    }

    fn run(&self, script: &str) -> Command {
        let path = format!("{}/tests/it/clients/{script}", env!("CARGO_MANIFEST_DIR"));
        let program = if script.ends_with("py") { &self.python } else { &self.node };
        let mut command = Command::new(program);
        command.env("NODE_PATH", &self.modules).arg(path);
        command
    }
}

impl House {
    /// Messages to the numbers of `apps` go to Node for Twilio and Vonage when `inbound_to_node`.
    fn open(inbound_to_node: bool) -> Option<House> {
        let programs = Programs::find()?;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let provider = runtime.block_on(SmsProvider::start());
        let python = Receiver::start(programs.run("sms_receiver.py"));
        let node = Receiver::start(programs.run("sms_receiver.js"));
        let of = |dialect: &str| match dialect {
            "twilio" | "vonage" if inbound_to_node => node.base.as_str(),
            _ => python.base.as_str(),
        };
        let mut tables = format!(
            "[[upstream]]\nname = \"provider\"\nkind = \"twilio\"\nurl = \"{}\"\n\
             account_sid = \"{ACCOUNT_SID}\"\nauth_token = \"{AUTH_TOKEN}\"\n\
             [[flow]]\non = \"sms.delivered\"\nwebhook = {{ url = \"{}/flow\", secret = \"{SIGNING}\" }}\n",
            provider.url(),
            python.base
        );
        for (dialect, number) in APPS {
            tables += &app(dialect, number, of(dialect));
        }
        tables += "[[app]]\nname = \"lan\"\nnetworks = [\"127.0.0.0/8\"]\n\
                   callbacks = [\"http://127.0.0.1:*/*\"]\n";
        let daemon = Daemon::start(&Setup::for_sms(tables));
        Some(House { daemon, provider, python, node, programs, _runtime: runtime })
    }

    /// Sends with one of our scripts around a library; gives the id that the library was given.
    fn send(&self, script: &str, dialect: &str, to: &str, receiver: &Receiver) -> String {
        self.run(script, dialect, to, receiver, "")
    }

    /// Redacts and deletes it; what its library hears when it looks for it.
    fn forget(&self, sid: &str, to: &str) -> String {
        self.run("sms_send.py", "twilio", to, &self.python, sid)
    }

    fn run(&self, script: &str, dialect: &str, to: &str, receiver: &Receiver, sid: &str) -> String {
        let (_, from) = APPS.iter().find(|(name, _)| *name == dialect).unwrap();
        let job = json!({
            "api": dialect, "base": format!("http://127.0.0.1:{}", self.daemon.sms()),
            "user": if dialect == "twilio" { TWILIO_USER } else { "erp" }, "secret": SECRET,
            "from": from, "to": to, "text": TEXT, "callback": format!("{}/{dialect}/status", receiver.base), "sid": sid,
        });
        let mut command = self.programs.run(script);
        tools::run(command.arg(job.to_string()), &[]).trim().to_owned()
    }

    /// The same with one of Vonage's libraries.
    fn send_by_vonage(&self, script: &str, library: &str, to: &str, receiver: &Receiver) -> String {
        let mut job = json!({
            "library": library, "action": "send", "base": format!("http://127.0.0.1:{}", self.daemon.sms()),
            "key": "erp", "secret": SECRET,
            "fields": {
                "from": APPS[1].1.trim_start_matches('+'), "to": to.trim_start_matches('+'), "text": TEXT,
                "type": "unicode", "callback": format!("{}/vonage/status", receiver.base),
                "client-ref": "ref-1",
            },
        });
        // The old Node library breaks some characters when it signs, and the new one does not sign.
        if script.ends_with("py") {
            job["signature"] = json!({"method": "sha256", "secret": SECRET});
        }
        let mut command = self.programs.run(script);
        let said = tools::run(command.arg(json!([job]).to_string()), &[]);
        let answer = said.lines().find(|line| line.starts_with("{\"")).unwrap().to_owned();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let message = &answer["answer"]["messages"][0];
        let names = ["message-id", "message_id", "messageId"];
        let id = names.iter().find_map(|name| message[*name].as_str());
        id.unwrap_or_else(|| panic!("{library}: {answer}")).to_owned()
    }

    /// Waits until the provider has the message to this number, and lets it report.
    fn is_delivered(&self, to: &str) {
        let sid = wait(
            || {
                let record = self.provider.record();
                let mine = |asked: &Asked| asked.field("To").as_deref() == Some(to);
                let index = record.requests.iter().position(mine)?;
                assert_eq!(record.requests[index].field("Body").as_deref(), Some(TEXT));
                record.ids.get(index).cloned()
            },
            || format!("the provider never had the message to {to}"),
        );
        let fields = [("MessageSid", &*sid), ("MessageStatus", "delivered"), ("ErrorCode", "")];
        // Its answer may still be on its way into the archive.
        wait(
            || {
                let path = "/hooks/provider/status";
                (callback(&self.daemon, path, &fields, AUTH_TOKEN) == 200).then_some(())
            },
            || format!("the receipt of {to} was not taken"),
        );
    }

    fn comes_in(&self, sid: &str, to: &str) {
        let fields = [
            ("MessageSid", sid),
            ("From", "+4587654321"),
            ("To", to),
            ("Body", TEXT),
            ("NumMedia", "0"),
        ];
        assert_eq!(callback(&self.daemon, "/hooks/provider/inbound", &fields, AUTH_TOKEN), 200);
    }
}

/// An app that speaks one dialect, and takes what comes in at `base`.
fn app(dialect: &str, number: &str, base: &str) -> String {
    let account = match dialect {
        "twilio" => format!("account_sid = \"{TWILIO_USER}\"\nauth_token = \"{SECRET}\""),
        "vonage" => format!(
            "api_key = \"erp\"\napi_secret = \"{SECRET}\"\nsignature_secret = \"{SECRET}\"\n\
             signature_method = \"sha256\""
        ),
        "kannel" => format!("username = \"erp\"\npassword = \"{SECRET}\""),
        _ => format!("token = \"{SECRET}\"\ncallback_secret = \"{SIGNING}\""),
    };
    format!(
        "[[app]]\nname = \"{dialect}\"\noriginators = [\"{number}\"]\ncallbacks = [\"http://127.0.0.1:*/*\"]\n\
         [app.sms.{dialect}]\n{account}\ninbound_url = \"{base}/{dialect}/inbound\"\n"
    )
}

#[test]
fn the_vendors_libraries_hear_what_became_of_their_messages() {
    let Some(house) = House::open(false) else { return };
    let twilio = [
        ("sms_send.py", &house.python, "+4512345001"),
        ("sms_send.js", &house.node, "+4512345002"),
    ];
    for (script, receiver, to) in twilio {
        let sid = house.send(script, "twilio", to, receiver);
        house.is_delivered(to);
        for word in ["sent", "delivered"] {
            receiver.wait_for("/twilio/status", |f| {
                f["MessageSid"] == sid && f["MessageStatus"] == word
            });
        }
    }
    let sid = house.send("sms_send.py", "twilio", "+4512345010", &house.python);
    house.is_delivered("+4512345010");
    assert_eq!(house.forget(&sid, "+4512345010"), "20404", "what was deleted is gone");
    let vonage = [
        ("sms_vonage.py", "vonage", &house.python, "+4512345003"),
        ("sms_vonage.py", "nexmo", &house.node, "+4512345004"),
        ("sms_vonage.js", "vonage", &house.python, "+4512345005"),
        ("sms_vonage.js", "nexmo", &house.node, "+4512345006"),
    ];
    for (script, library, receiver, to) in vonage {
        let id = house.send_by_vonage(script, library, to, receiver);
        house.is_delivered(to);
        let of_it = |f: &Value| f["messageId"] == id && f["status"] == "delivered";
        let fields = receiver.wait_for("/vonage/status", of_it);
        assert_eq!((&fields["client-ref"], &fields["err-code"]), (&json!("ref-1"), &json!("0")));
    }
    let id: u64 =
        house.send("sms_send.py", "gatewayapi", "+4512345007", &house.python).parse().unwrap();
    house.is_delivered("+4512345007");
    let of_it = |f: &Value| f["id"] == id && f["status"] == "DELIVERED";
    house.python.wait_for("/gatewayapi/status", of_it);
    let id = house.send("sms_send.py", "waybill", "+4512345008", &house.python);
    house.is_delivered("+4512345008");
    let of_it = |f: &Value| f["type"] == "sms.delivered" && f["data"]["id"] == id;
    house.python.wait_for("/waybill/status", of_it);
    house.send("sms_send.py", "kannel", "+4512345009", &house.python);
    house.is_delivered("+4512345009");
    for bit in ["8", "1"] {
        let of_it = |f: &Value| f["to"] == "+4512345009" && f["type"] == bit;
        house.python.wait_for("/kannel/status", of_it);
    }
    let of_it = |f: &Value| f["data"]["message"]["id"] == id && f["type"] == "sms.delivered";
    house.python.wait_for("/flow", of_it);
}

#[test]
fn an_app_that_is_known_by_its_network_alone_is_told_too() {
    let Some(house) = House::open(false) else { return };
    let port = Api::new(house.daemon.sms(), None);
    let (native, gateway) = ("+4512345011", "+4512345012");
    // This path of the receiver believes what nobody signed.
    let callback = format!("{}/kannel/lan", house.python.base);
    let message = json!({"to": native, "from": "Example", "text": TEXT, "callback": callback});
    assert_eq!(port.post("/v1/sms", &message.to_string()).unwrap().status, 201);
    let message = json!({
        "sender": "Example", "message": TEXT, "callback_url": callback,
        "recipients": [{"msisdn": gateway}],
    });
    assert_eq!(port.post("/rest/mtsms", &message.to_string()).unwrap().status, 200);
    house.is_delivered(native);
    house.is_delivered(gateway);
    house.python.wait_for("/kannel/lan", |f| f["type"] == "sms.delivered");
    house.python.wait_for("/kannel/lan", |f| f["status"] == "DELIVERED");
}

#[test]
fn what_people_write_reaches_the_application_in_its_own_dialect() {
    for inbound_to_node in [false, true] {
        let Some(house) = House::open(inbound_to_node) else { return };
        for (index, (_, number)) in APPS.iter().enumerate() {
            house.comes_in(&format!("SM{index:032x}"), number);
        }
        let signed = if inbound_to_node { &house.node } else { &house.python };
        let twilio = signed.wait_for("/twilio/inbound", |f| f["Body"] == TEXT);
        assert_eq!(
            (&twilio["From"], &twilio["To"]),
            (&json!("+4587654321"), &json!("+4521000001"))
        );
        let vonage = signed.wait_for("/vonage/inbound", |f| f["text"] == TEXT);
        assert_eq!(
            (&vonage["msisdn"], &vonage["to"]),
            (&json!("4587654321"), &json!("4521000002"))
        );
        let python = &house.python;
        let gatewayapi = python.wait_for("/gatewayapi/inbound", |f| f["message"] == TEXT);
        assert_eq!(gatewayapi["msisdn"], 4_587_654_321_u64);
        let waybill = python.wait_for("/waybill/inbound", |f| f["data"]["text"] == TEXT);
        assert_eq!(waybill["type"], "sms.received");
        let kannel = python.wait_for("/kannel/inbound", |f| f["text"] == TEXT);
        assert_eq!(
            (&kannel["from"], &kannel["to"]),
            (&json!("+4587654321"), &json!("+4521000005"))
        );
        if !inbound_to_node {
            // What it answered in TwiML is sent to whoever wrote.
            let is_reply = |asked: &Asked| {
                asked.field("To").as_deref() == Some("+4587654321")
                    && asked.field("Body").as_deref() == Some("Tak & på gensyn")
                    && asked.field("From").as_deref() == Some("+4521000001")
            };
            let answered = || house.provider.requests().iter().any(is_reply).then_some(());
            wait(answered, || format!("no answer: {:?}", house.provider.requests()));
        }
    }
}
