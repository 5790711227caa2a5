//! The export holds every row, runs nothing in a spreadsheet, and never gathers in memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use waybill::account::Role;
use waybill::archive::{Acceptance, Accepted};

use crate::support::admin::{Gateway, MAIL};

/// A reader of RFC 4180 as small as it can be: rows of cells.
pub(crate) fn parsed(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut chars) = (false, text.chars().peekable());
    while let Some(c) = chars.next() {
        match (c, quoted) {
            ('"', true) if chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            ('"', _) => quoted = !quoted,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\r', false) => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (c, _) => cell.push(c),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "the table ends in the middle");
    rows
}

#[tokio::test]
async fn formulas_of_strangers_are_text() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let subjects =
        ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "=?utf-8?Q?=EF=BC=9D1?=", "a,\"b\";c"];
    for subject in subjects {
        let mail = MAIL.replace("Invoice INV-12345", subject);
        gateway.submit("erp", &["kim@example.org"], &mail, true).await;
    }
    let answer = gateway.get(&token, "/api/v1/messages.csv?order=oldest").await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert!(answer.header("content-disposition").starts_with("attachment"));
    let rows = parsed(std::str::from_utf8(&answer.body).unwrap());
    let column = rows[0].iter().position(|name| name == "subject").unwrap();
    let found: Vec<&str> = rows[1..].iter().map(|row| row[column].as_str()).collect();
    let expected = ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(1)", "'＝1", "a,\"b\";c"];
    assert_eq!(found, expected);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()));
    let wrong = gateway.get(&token, "/api/v1/messages.csv?limit=5").await;
    assert_eq!((wrong.status, wrong.problem().as_str()), (400, "invalid-parameter"));
    let filtered = gateway.get(&token, "/api/v1/messages.csv?recipient=nobody@example.org").await;
    assert_eq!(parsed(std::str::from_utf8(&filtered.body).unwrap()).len(), 1);
    let limited = gateway.token(Role::Viewer, &["crm"]).await;
    let hidden = gateway.get(&limited, "/api/v1/messages.csv").await;
    assert_eq!(parsed(std::str::from_utf8(&hidden.body).unwrap()).len(), 1);
}

/// Archives copies of one message, many in one call.
async fn fill(gateway: &Gateway, count: usize) {
    let first = gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    let copy = |number: usize| Acceptance {
        accepted_at: first.accepted_at,
        direction: first.direction,
        app: first.app.clone(),
        medium: first.medium.clone(),
        client: first.client.clone(),
        raw: Bytes::from_static(b"Subject: x\r\n\r\n"),
        digest: waybill::model::Digest::of(b"Subject: x\r\n\r\n"),
        shared: Vec::new(),
        summary: waybill::archive::Summary {
            subject: Some(format!("number {number}")),
            preview: "x".repeat(200),
            ..Default::default()
        },
        recipients: first
            .recipients
            .iter()
            .map(|r| waybill::archive::NewRecipient {
                name: None,
                kind: r.kind,
                state: r.state.clone(),
            })
            .collect(),
        references: Vec::new(),
        tag: None,
        on_behalf_of: None,
        policy: first.policy,
        resend_of: None,
    };
    let mut done = 1;
    while done < count {
        let next = (done + 1_000).min(count);
        let accepted = gateway.archive.accept_all((done..next).map(copy).collect(), None).await;
        assert!(matches!(accepted.unwrap(), Accepted::New(_)));
        done = next;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_rows_are_all_there_and_wait_for_their_reader() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    fill(&gateway, 20_000).await;
    let address = gateway.address;
    let request = format!(
        "GET /api/v1/messages.csv HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let before = resident_bytes();
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        // Its place is taken when the answer begins.
        tokio::task::block_in_place(|| socket.peek(&mut [0]).unwrap());
        slow.push(socket);
    }
    let busy = gateway.get(&token, "/api/v1/messages.csv").await;
    assert_eq!((busy.status, busy.problem().as_str()), (429, "busy"), "two exports at one time");
    let mut socket = slow.pop().unwrap();
    let (read, most) = tokio::task::spawn_blocking(move || {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (mut all, mut buffer, mut most) = (Vec::new(), vec![0; 64 << 10], 0);
        loop {
            let count = socket.read(&mut buffer).unwrap();
            if count == 0 {
                return (all, most);
            }
            all.extend_from_slice(&buffer[..count]);
            most = most.max(resident_bytes().saturating_sub(all.capacity()));
        }
    })
    .await
    .unwrap();
    assert!(read.len() > 7 << 20, "{} bytes", read.len());
    // The other reader takes nothing, and this one took everything: neither made the server gather.
    let grown = most.saturating_sub(before);
    assert!(grown < 24 << 20, "the server holds {grown} bytes more than before");
    let text = String::from_utf8(read).unwrap();
    let ids = text.lines().filter(|line| line.contains("\"number ")).count();
    assert_eq!(ids, 19_999);
    let mut subjects: Vec<&str> =
        text.split('"').filter(|cell| cell.starts_with("number ")).collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), 19_999, "no row came twice");
}

/// What the process holds in memory.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}
