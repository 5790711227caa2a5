//! The four client libraries of Vonage's SMS API, new and old, in Python and Node, speak to the dialect
//! unchanged; and their own checks accept the signatures of our receipts.
//!
//! The dialect alone answers here, over real HTTP, with messages that nobody keeps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{Request, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use waybill::model::{
    Destination, Dialect, Direction, MessageId, Msisdn, Originator, Secret, Sequence, Sms, SmsBody,
    Timestamp,
};
use waybill::sms::account::{CallbackUrls, SignatureMethod, VonageAccount, VonageSignature};
use waybill::sms::call::{
    Answer, Call, Draft, Notice, Operation, Refusal, Shown, ShownState, Verdict,
};
use waybill::sms::number::{self, Country};
use waybill::sms::{Port, SmsAccounts, segment, vonage::VonagePort};

use crate::support::tools;

const KEY: &str = "abcd1234";
const SECRET: &str = "s3cr&t=+%";
const SIGNATURE_SECRET: &str = "sig&secret=+%";
/// The words of the libraries for the five methods.
const METHODS: [(&str, SignatureMethod); 5] = [
    ("md5hash", SignatureMethod::Md5Hash),
    ("md5", SignatureMethod::HmacMd5),
    ("sha1", SignatureMethod::HmacSha1),
    ("sha256", SignatureMethod::HmacSha256),
    ("sha512", SignatureMethod::HmacSha512),
];
/// Every character that a form, a query, a JSON text or a signature could trip over, but for those that the
/// old Node library itself breaks when it signs.
const TEXT: &str = "Hej æ 100% \"{}\" <b> ' \\ ; 😀\nny linje";

fn accounts(method: SignatureMethod) -> SmsAccounts {
    let secret = Secret::new(SIGNATURE_SECRET.into());
    let account = VonageAccount {
        api_key: KEY.into(),
        api_secret: Secret::new(SECRET.into()),
        signature: Some(VonageSignature { secret, method }),
        callbacks: CallbackUrls::default(),
    };
    SmsAccounts { vonage: Some(account), ..SmsAccounts::default() }
}

/// What arrived: the drafts, and every request as it would be archived.
#[derive(Default)]
struct Arrived {
    drafts: Vec<Draft>,
    masked: Vec<String>,
}

struct House {
    base: String,
    arrived: Arc<Mutex<Arrived>>,
    _runtime: tokio::runtime::Runtime,
}

struct Gate {
    accounts: SmsAccounts,
    arrived: Arc<Mutex<Arrived>>,
}

impl House {
    fn open(method: SignatureMethod) -> House {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let arrived = Arc::new(Mutex::new(Arrived::default()));
        let gate = Gate { accounts: accounts(method), arrived: arrived.clone() };
        let router = Router::new().fallback(handle).with_state(Arc::new(gate));
        runtime.spawn(async move { axum::serve(listener, router).await });
        House { base, arrived, _runtime: runtime }
    }

    /// The only draft since the last look.
    fn draft(&self) -> Draft {
        let mut arrived = self.arrived.lock().unwrap();
        assert_eq!(arrived.drafts.len(), 1, "{:?}", arrived.masked);
        arrived.drafts.remove(0)
    }
}

async fn handle(
    State(gate): State<Arc<Gate>>,
    request: Request<axum::body::Body>,
) -> Response<axum::body::Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let request = Request::from_parts(parts, body);
    let masked = String::from_utf8_lossy(&VonagePort.masked(&request)).into_owned();
    gate.arrived.lock().unwrap().masked.push(masked);
    assert!(VonagePort.recognises(&request), "{request:?}");
    let response = match VonagePort.read(&request) {
        Ok(call) => answered(&gate, &request, &call),
        Err(response) => *response,
    };
    response.map(axum::body::Body::from)
}

fn answered(gate: &Gate, request: &Request<Bytes>, call: &Call) -> Response<Bytes> {
    let refuse = |refusal| VonagePort.answer(call, &Answer::Refused(&refusal));
    match VonagePort.verify(request, &gate.accounts, now()) {
        Verdict::Proven => {}
        Verdict::WrongSignature => return refuse(Refusal::BadSignature),
        Verdict::WrongSecret | Verdict::Stranger => return refuse(Refusal::Credentials),
    }
    match &call.operation {
        Operation::Probe(probe) => VonagePort.answer(call, &Answer::Probed(*probe)),
        Operation::Submit(Ok(drafts)) if drafts[0].client_reference.as_deref() == Some("wait") => {
            refuse(Refusal::RateLimited { retry_after: Duration::from_millis(250) })
        }
        Operation::Submit(Ok(drafts)) => {
            let shown: Vec<Shown> = drafts.iter().map(shown).collect();
            gate.arrived.lock().unwrap().drafts.extend(drafts.iter().cloned());
            VonagePort.answer(call, &Answer::Submitted(&shown))
        }
        Operation::Submit(Err(refusal)) => refuse(refusal.clone()),
        other => panic!("{other:?}"),
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis() as i64)
}

fn shown(draft: &Draft) -> Shown {
    let measure = segment::measure(&draft.body, &draft.udh);
    let from = draft.from.as_deref().unwrap();
    let sms = Sms {
        originator: number::originator(from, draft.style, &Country::NONE),
        udh: draft.udh.clone(),
        encoding: measure.encoding,
        segments: u16::try_from(measure.segments).unwrap(),
        class: draft.class,
        dialect: Dialect::Vonage,
        account: Some(KEY.into()),
        client_reference: draft.client_reference.clone(),
        receipt: draft.receipt.clone(),
        ..Sms::new(
            number::destination(&draft.to, draft.style, &Country::NONE).unwrap(),
            draft.body.clone(),
        )
    };
    Shown {
        id: MessageId::from_u128(0xab),
        sequence: Sequence(1),
        direction: Direction::Outbound,
        sms,
        state: ShownState::Delivered,
        failure: None,
        provider_code: None,
        accepted_at: now(),
        updated_at: now(),
        sent_at: None,
        done_at: None,
        parts: Vec::new(),
    }
}

/// One library: the program that runs it, and its name there.
#[derive(Clone, Debug)]
struct Library {
    program: PathBuf,
    script: &'static str,
    name: &'static str,
    modules: PathBuf,
}

impl Library {
    fn is_python(&self) -> bool {
        self.script.ends_with("py")
    }

    /// The newest Node library proves itself by HTTP Basic alone.
    fn signs(&self) -> bool {
        self.is_python() || self.name == "nexmo"
    }

    /// What the library gives its caller for each job, or the error that it throws.
    fn run(&self, mut jobs: Vec<Value>) -> Vec<Value> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients");
        for job in &mut jobs {
            job["library"] = self.name.into();
        }
        let mut command = Command::new(&self.program);
        command.env("NODE_PATH", &self.modules).arg(scripts.join(self.script));
        let output = tools::run(command.arg(Value::from(jobs.clone()).to_string()), &[]);
        let lines = output.lines().filter(|line| line.starts_with("{\""));
        let answers: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), jobs.len(), "{self:?}: {output}");
        answers
    }

    fn send(&self, house: &House, proof: &Value, fields: Value) -> Value {
        self.run(vec![job(house, proof, fields)]).remove(0)
    }
}

/// A job to send.
fn job(house: &House, proof: &Value, fields: Value) -> Value {
    let mut job = json!({ "action": "send", "base": house.base, "key": KEY, "fields": fields });
    job.as_object_mut().unwrap().extend(proof.as_object().unwrap().clone());
    job
}

/// The libraries that are installed; says which are not.
fn libraries() -> Vec<Library> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("sms_clients");
    let modules = target.join("node/node_modules");
    let python = target.join("python/bin/python");
    let mut found = Vec::new();
    for name in ["vonage", "nexmo"] {
        let is_installed = python.is_file()
            && tools::run(
                Command::new(&python).args([
                    "-c",
                    "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]) is not None)",
                    name,
                ]),
                &[],
            )
            .contains("True");
        if is_installed {
            let (program, modules) = (python.clone(), modules.clone());
            found.push(Library { program, script: "sms_vonage.py", name, modules });
        } else {
            tools::skip(&format!("the Python library {name} is not installed"));
        }
    }
    for (name, folder) in [("vonage", "@vonage/server-sdk"), ("nexmo", "nexmo")] {
        let Some(program) = tools::find("node") else { break };
        if modules.join(folder).is_dir() {
            let modules = modules.clone();
            found.push(Library { program, script: "sms_vonage.js", name, modules });
        } else {
            tools::skip(&format!("the Node library {folder} is not installed"));
        }
    }
    found
}

fn secret() -> Value {
    json!({ "secret": SECRET })
}

fn signature(word: &str, secret: &str) -> Value {
    json!({ "secret": SECRET, "signature": { "method": word, "secret": secret } })
}

fn text_of(draft: &Draft) -> Option<&str> {
    match &draft.body {
        SmsBody::Text(text) => Some(text),
        SmsBody::Binary(_) => None,
    }
}

/// The ids in an answer, in whatever spelling the library gives them.
fn ids(answer: &Value) -> Vec<&str> {
    let messages = answer["answer"]["messages"].as_array();
    let messages = messages.unwrap_or_else(|| panic!("{answer}"));
    messages
        .iter()
        .map(|message| {
            assert_eq!(message["status"], "0", "{answer}");
            let spellings = ["message-id", "message_id", "messageId"];
            spellings.iter().find_map(|name| message[name].as_str()).unwrap()
        })
        .collect()
}

#[test]
fn wrong_proofs_and_calls_are_told_by_every_library() {
    let house = House::open(SignatureMethod::HmacSha256);
    let fields = json!({ "from": "Example", "to": "4512345678", "text": "Hej" });
    let mut wait = fields.clone();
    wait["client-ref"] = "wait".into();
    let mut broken = fields.clone();
    broken["to"] = "x\u{7}".into();
    for library in libraries() {
        let mut cases = vec![
            (job(&house, &json!({ "secret": "wrong" }), fields.clone()), "Bad Credentials"),
            (job(&house, &secret(), wait.clone()), "please wait [ 250 ] and retry"),
            (job(&house, &secret(), broken.clone()), "Invalid to param"),
        ];
        if library.signs() {
            let wrong = job(&house, &signature("sha256", "wrong"), fields.clone());
            cases.push((wrong, "Invalid Signature"));
        }
        let (jobs, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        for (told, expected) in library.run(jobs).iter().zip(expected) {
            assert!(told.to_string().contains(expected), "{library:?}: {told}");
        }
    }
    assert!(house.arrived.lock().unwrap().drafts.is_empty());
}

#[test]
fn every_library_sends_what_it_was_given() {
    let house = House::open(SignatureMethod::HmacSha256);
    let texts = [TEXT, "a&b=c+d", "&api_key=x&to=1", "=?UTF-8?", "{\"to\":1}", "%00%0D%0A"];
    for library in libraries() {
        let fields = |text| json!({ "from": "Example", "to": "4512345678", "text": text });
        let jobs = texts.map(|text| job(&house, &secret(), fields(text)));
        for answer in library.run(jobs.to_vec()) {
            assert_eq!(ids(&answer), ["00000000000000AB"], "{library:?}");
        }
        let drafts = std::mem::take(&mut house.arrived.lock().unwrap().drafts);
        assert_eq!(drafts.iter().map(text_of).collect::<Vec<_>>(), texts.map(Some), "{library:?}");
        for draft in drafts {
            assert_eq!((draft.to.as_str(), draft.from.as_deref()), ("4512345678", Some("Example")));
        }
    }
}

#[test]
fn every_library_sees_each_segment() {
    let house = House::open(SignatureMethod::HmacSha256);
    for library in libraries() {
        let fields = json!({ "from": "4587654321", "to": "4512345678", "text": "a".repeat(400) });
        let answer = library.send(&house, &secret(), fields);
        let expected = ["00000000000000AB1", "00000000000000AB2", "00000000000000AB3"];
        assert_eq!(ids(&answer), expected, "{library:?}");
        house.draft();
    }
}

#[test]
fn every_option_arrives() {
    let house = House::open(SignatureMethod::HmacSha256);
    for library in libraries() {
        let fields = json!({
            "from": "Example", "to": "4512345678", "text": "жж", "type": "unicode", "ttl": 60000,
            "client-ref": "INV-1", "status-report-req": true, "message-class": 0,
            "callback": "https://erp.example.com/dlr?a=1&b=2",
        });
        ids(&library.send(&house, &secret(), fields));
        let draft = house.draft();
        assert_eq!(text_of(&draft), Some("жж"), "{library:?}");
        assert_eq!(draft.valid_for, Some(Duration::from_secs(60)), "{library:?}");
        assert_eq!(draft.client_reference.as_deref(), Some("INV-1"), "{library:?}");
        assert_eq!(draft.class, Some(0), "{library:?}");
        let url = draft.receipt.map(|receipt| receipt.url);
        assert_eq!(url.as_deref(), Some("https://erp.example.com/dlr?a=1&b=2"), "{library:?}");
        let binary = json!({
            "from": "Example", "to": "4512345678", "text": "-", "type": "binary", "body": "48656A",
            "udh": "0605040B8423F0",
        });
        ids(&library.send(&house, &secret(), binary));
        let draft = house.draft();
        assert_eq!(draft.body, SmsBody::Binary(b"Hej".to_vec()), "{library:?}");
        assert_eq!(draft.udh.len(), 7, "{library:?}");
    }
}

#[test]
fn every_way_of_signing_is_understood() {
    let libraries = libraries();
    for (word, method) in METHODS {
        let house = House::open(method);
        // The newest Node library does not sign calls, and the newest Python one has no plain hash.
        let signing = libraries.iter().filter(|library| {
            library.name == "nexmo" || (library.is_python() && method != SignatureMethod::Md5Hash)
        });
        for library in signing {
            let mut fields = json!({ "from": "Example", "to": "4512345678", "text": TEXT });
            if library.is_python() {
                // What the old Node library signs and what it sends differ for these.
                fields["text"] = format!("{TEXT} a&b=c+d#e?").into();
            }
            let text = fields["text"].clone();
            let answer = library.send(&house, &signature(word, SIGNATURE_SECRET), fields);
            assert_eq!(ids(&answer), ["00000000000000AB"], "{word} {library:?}");
            assert_eq!(text_of(&house.draft()), text.as_str(), "{word} {library:?}");
        }
    }
}

#[test]
fn every_library_can_ask_for_the_balance() {
    let house = House::open(SignatureMethod::HmacSha256);
    for library in libraries() {
        let job = json!({ "action": "balance", "base": house.base, "key": KEY, "secret": SECRET });
        let answer = library.run(vec![job]).remove(0);
        assert_eq!(answer["answer"]["value"].as_f64(), Some(0.0), "{library:?}: {answer}");
    }
}

#[test]
fn no_secret_is_archived() {
    let house = House::open(SignatureMethod::HmacSha256);
    let fields = json!({ "from": "Example", "to": "4512345678", "text": "Hej" });
    for library in libraries() {
        library.send(&house, &json!({ "secret": "hunter2hunter2" }), fields.clone());
        library.send(&house, &secret(), fields.clone());
        let masked = std::mem::take(&mut house.arrived.lock().unwrap().masked);
        assert_eq!(masked.len(), 2, "{library:?}");
        for text in masked {
            assert!(!text.contains("hunter2") && !text.contains("s3cr"), "{text}");
            assert!(text.contains("***") && text.contains("Example"), "{text}");
        }
    }
}

#[test]
fn the_libraries_accept_our_signatures() {
    let draft = Draft {
        from: Some("Example".into()),
        client_reference: Some("INV&1=+ æ%".into()),
        ..Draft::new(
            "4512345678".into(),
            number::NumberStyle::International,
            SmsBody::Text(format!("a&b=c+d {TEXT}")),
        )
    };
    let message = shown(&draft);
    let mut inbound = message.clone();
    inbound.sms.originator = Msisdn::from_digits("4512345678").map(Originator::Number);
    inbound.sms.destination = Destination::Number(Msisdn::from_digits("4587654321").unwrap());
    let mut jobs = Vec::new();
    for (word, method) in METHODS {
        let accounts = accounts(method);
        let notice = Notice { message: &message, event: Sequence(9), at: now(), now: now() };
        let url = "https://erp.example.com/hook?tenant=a%26b";
        let mut requests = VonagePort.receipts(&notice, url, &accounts);
        requests.extend(VonagePort.inbound(&inbound, url, &accounts, now()));
        assert_eq!(requests.len(), 2);
        for request in requests {
            let query = request.uri().query().unwrap().as_bytes();
            let pairs = url::form_urlencoded::parse(query).into_owned();
            let fields: serde_json::Map<String, Value> =
                pairs.map(|(name, value)| (name, value.into())).collect();
            let signature = json!({ "method": word, "secret": SIGNATURE_SECRET });
            jobs.push(json!({
                "action": "check", "base": "http://x", "key": KEY, "fields": fields,
                "signature": signature,
            }));
        }
    }
    for library in libraries() {
        let has_plain_hash = !(library.is_python() && library.name == "vonage");
        let mut mine = jobs.clone();
        mine.retain(|job| has_plain_hash || job["signature"]["method"] != "md5hash");
        for (answer, job) in library.run(mine.clone()).iter().zip(&mine) {
            assert_eq!(answer["answer"], true, "{library:?} {job}: {answer}");
        }
        for job in &mut mine {
            job["fields"]["to"] = "1".into();
        }
        for answer in library.run(mine) {
            assert_eq!(answer["answer"], false, "{library:?} accepts anything");
        }
    }
}
