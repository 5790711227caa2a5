//! One wish for many messages: counted first, done once for each, told for each, and not lost with the daemon.

use std::time::Duration;

use serde_json::{Value, json};
use waybill::account::Role;

use crate::support::admin::{Gateway, MAIL};
use crate::support::daemon::{Daemon, Setup};
use crate::support::submitter::Submitter;

const PATH: &str = "/api/v1/messages/actions";

#[tokio::test]
async fn wrong_wishes_change_nothing() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id.to_string();
    for (body, status) in [
        (json!({"action": "delete", "ids": [id]}), 400),
        (json!({"action": "stop"}), 400),
        (json!({"action": "stop", "ids": [id], "query": {"app": "erp"}}), 400),
        (json!({"action": "stop", "ids": []}), 400),
        (json!({"action": "stop", "ids": ["x"]}), 400),
        (json!({"action": "stop", "ids": vec![id.as_str(); 501]}), 400),
        (json!({"action": "stop", "ids": [id, "01JD5VZ7Q4N7W4T6Y5M8R2K3BU"]}), 400),
        (json!({"action": "stop", "query": {}}), 400),
        (json!({"action": "stop", "query": {"status": "sended"}}), 400),
        (json!({"action": "stop", "query": {"limit": "5"}}), 400),
        (json!({"action": "stop", "query": {"app": 7}}), 400),
        (json!({"action": "stop", "query": "status:pending"}), 400),
        (json!({"action": "stop", "ids": [id], "force": true}), 400),
    ] {
        let answer = gateway.post(&token, PATH, Some(body.clone())).await;
        assert_eq!(answer.status, status, "{body}");
        answer.problem();
    }
    let theirs = gateway.token(Role::Operator, &["crm"]).await;
    let hidden = gateway.post(&theirs, PATH, Some(json!({"action": "stop", "ids": [id]}))).await;
    assert_eq!(hidden.json()["counts"], json!({"matched": 1, "done": 0, "refused": 1}));
    let everything = json!({"action": "stop", "query": {"since": "1970-01-01"}});
    let nothing = gateway.post(&theirs, PATH, Some(everything)).await.json();
    assert_eq!(nothing["counts"], json!({"matched": 0, "done": 0, "refused": 0}));
    let message = gateway.get(&token, &format!("/api/v1/messages/{id}")).await.json();
    assert_eq!(message["status"], "pending");
}

#[tokio::test]
async fn an_id_of_no_message_is_refused_by_itself() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &["erp"]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id.to_string();
    let theirs = gateway.submit("crm", &["kim@example.org"], MAIL, true).await.id.to_string();
    let unknown = "01JD5VZ7Q4N7W4T6Y5M8R2K3B1";
    for (dry_run, done) in [(true, "possible"), (false, "done")] {
        let wish = json!({"action": "stop", "ids": [theirs, id, unknown], "dry_run": dry_run});
        let job = gateway.post(&token, PATH, Some(wish)).await;
        assert_eq!(job.status, 200);
        let job = job.json();
        assert_eq!(job["counts"], json!({"matched": 3, "done": 1, "refused": 2}));
        let path = format!("/api/v1/jobs/{}", job["job"].as_str().unwrap());
        let items = gateway.get(&token, &path).await.json()["items"].clone();
        let mut told = Vec::new();
        for item in items.as_array().unwrap() {
            told.push((item["id"].as_str().unwrap(), item["result"].as_str().unwrap()));
            assert_eq!(item["reason"].is_null(), item["result"] == done, "{item}");
        }
        assert_eq!(told, [(unknown, "refused"), (&id, done), (&theirs, "refused")]);
    }
    let all = gateway.token(Role::Viewer, &[]).await;
    let message = gateway.get(&all, &format!("/api/v1/messages/{theirs}")).await.json();
    assert_eq!(message["status"], "pending", "it is another app's");
}

#[tokio::test]
async fn a_few_are_counted_and_then_done_at_once() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id.to_string());
    }
    gateway.post(&token, &format!("/api/v1/messages/{}/stop", ids[0]), None).await;
    let mut wish = json!({"action": "stop", "query": {"app": "erp"}, "dry_run": true});
    let dry = gateway.post(&token, PATH, Some(wish.clone())).await;
    assert_eq!((dry.status, &dry.json()["state"]), (200, &json!("done")));
    assert_eq!(dry.json()["counts"], json!({"matched": 3, "done": 2, "refused": 1}));
    wish["dry_run"] = json!(false);
    let real = gateway.post(&token, PATH, Some(wish)).await.json();
    assert_eq!(real["counts"], json!({"matched": 3, "done": 2, "refused": 1}));
    let job = format!("/api/v1/jobs/{}", real["job"].as_str().unwrap());
    let first = gateway.get(&token, &format!("{job}?limit=2")).await.json();
    assert_eq!(first["items"][0]["result"], "refused");
    assert!(first["items"][0]["reason"].as_str().unwrap().contains("stopped"), "{first}");
    assert_eq!(first["items"][1], json!({"id": ids[1], "result": "done", "reason": null}));
    let next = first["next"].as_str().unwrap();
    let second = gateway.get(&token, &format!("{job}?limit=2&cursor={next}")).await.json();
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    let limited = gateway.token(Role::Operator, &["erp"]).await;
    assert_eq!(gateway.get(&limited, &job).await.status, 404, "a job over all apps");
    let jobs = |page: Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|job| job["job"].clone()).collect()
    };
    let all = gateway.get(&token, "/api/v1/jobs?limit=1").await.json();
    assert_eq!(all["items"][0]["counts"], real["counts"]);
    let next = format!("/api/v1/jobs?limit=1&cursor={}", all["next"].as_str().unwrap());
    let older = gateway.get(&token, &next).await.json();
    assert_eq!(
        (&older["next"], older["items"][0]["dry_run"].as_bool()),
        (&Value::Null, Some(true))
    );
    assert_eq!([jobs(all), jobs(older)].concat(), [real["job"].clone(), dry.json()["job"].clone()]);
    assert!(jobs(gateway.get(&limited, "/api/v1/jobs").await.json()).is_empty());
    let own = json!({"action": "stop", "query": {"since": "1970-01-01"}, "dry_run": true});
    let own = gateway.post(&limited, PATH, Some(own)).await.json();
    assert_eq!(jobs(gateway.get(&limited, "/api/v1/jobs").await.json()), [own["job"].clone()]);
    let again = json!({"action": "restart", "ids": ids});
    let again = gateway.post(&token, PATH, Some(again)).await.json();
    assert_eq!(again["counts"], json!({"matched": 3, "done": 3, "refused": 0}));
}

/// More than is done at once; the daemon is killed in the middle.
#[test]
fn a_large_job_survives_a_kill_and_acts_once_on_each() {
    const COUNT: usize = 1_200;
    let setup = Setup {
        upstream: None,
        tables: "[[app]]\nname = \"erp\"\nnetworks = [\"127.0.0.0/8\"]\nhold = \"manual\"\n[[upstream]]\nname = \"nowhere\"\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"off\"\n".into(),
        ..Setup::relaying_to(0)
    };
    let mut daemon = Daemon::start(&setup);
    let api = daemon.api("operator");
    std::thread::scope(|scope| {
        for session in 0..4 {
            let port = daemon.smtp();
            scope.spawn(move || {
                let mut session_ = Submitter::connect(port).unwrap();
                for number in 0..COUNT / 4 {
                    let to = format!("{session}.{number}@example.org");
                    session_.submit("a@example.com", &[&to], b"Subject: x\r\n\r\nx\r\n").unwrap();
                }
            });
        }
    });
    let wish = r#"{"action": "stop", "query": {"status": "pending"}}"#;
    let answer = api.post(PATH, wish).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.json());
    let job = format!("/api/v1/jobs/{}", answer.json()["job"].as_str().unwrap());
    daemon.kill();
    daemon.start_again();
    let ended = loop {
        let told = api.read(&format!("{job}?limit=500"));
        if told["state"] == "done" {
            break told;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(ended["counts"], json!({"matched": COUNT, "done": COUNT, "refused": 0}));
    let messages = api.all_messages("status=stopped");
    assert_eq!(messages.len(), COUNT);
    let stops = api.events(messages[0]["id"].as_str().unwrap());
    assert_eq!(stops.iter().filter(|event| event["event"] == "stopped").count(), 1);
    let cancelled = api.post(&format!("{job}/cancel"), "").unwrap().json();
    assert_eq!(cancelled["state"], "done", "what has ended can not be cancelled");
}
