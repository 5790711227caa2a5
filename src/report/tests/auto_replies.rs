//! Automatic answers in many languages and shapes, and what people write that only looks like one.

use super::described;

fn answer(subject: &str, fields: &str) -> String {
    let raw = format!(
        "From: Bob <bob@example.com>\nTo: app@sender.example\nSubject: {subject}\n{fields}\
         Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nhello\n"
    );
    described(raw.as_bytes())
}

#[test]
fn answers_of_absent_people_are_told_by_their_subject_in_many_languages() {
    for subject in [
        "Automatic reply: Invoice 7",
        "Auto: Invoice 7",
        "AutoReply: Invoice 7",
        "Out of Office AutoReply: Invoice 7",
        "Out of office: Invoice 7",
        "Re: Invoice 7 (Out of office)",
        "Vacation reply",
        "Automatische Antwort: Rechnung 7",
        "Abwesenheitsnotiz: Rechnung 7",
        "Abwesend: Rechnung 7",
        "AW: Rechnung 7 - Abwesenheitsnotiz",
        "Eingangsbest\u{e4}tigung: Rechnung 7",
        "R\u{e9}ponse automatique : Facture 7",
        "Absence du bureau : Facture 7",
        "Automatisk svar: Faktura 7",
        "Autosvar: Faktura 7",
        "Frav\u{e6}r: Faktura 7",
        "Ikke p\u{e5} kontoret: Faktura 7",
        "Automatiskt svar: Faktura 7",
        "Fr\u{e5}nvaro: Faktura 7",
        "Respuesta autom\u{e1}tica: Factura 7",
        "Fuera de la oficina: Factura 7",
        "Risposta automatica: Fattura 7",
        "Fuori ufficio: Fattura 7",
        "Resposta autom\u{e1}tica: Fatura 7",
        "Ausente: Fatura 7",
        "Automatisch antwoord: Factuur 7",
        "Afwezig: Factuur 7",
        "Automaattinen vastaus: Lasku 7",
        "Automatyczna odpowied\u{17a}: Faktura 7",
        "Automatick\u{e1} odpov\u{11b}\u{10f}: Faktura 7",
        "Automatikus v\u{e1}lasz: Sz\u{e1}mla 7",
        "Otomatik yan\u{131}t: Fatura 7",
        "R\u{103}spuns automat: Factura 7",
        "\u{410}\u{432}\u{442}\u{43e}\u{43c}\u{430}\u{442}\u{438}\u{447}\u{435}\u{441}\u{43a}\u{438}\u{439} \u{43e}\u{442}\u{432}\u{435}\u{442}: 7",
        "\u{81ea}\u{52d5}\u{5fdc}\u{7b54}: 7",
        "\u{81ea}\u{52a8}\u{7b54}\u{590d}: 7",
        "\u{c790}\u{b3d9} \u{d68c}\u{c2e0}: 7",
    ] {
        assert_eq!(answer(subject, ""), "bob@example.com Answer", "{subject}");
    }
}

#[test]
fn answers_in_more_languages_and_brackets_are_told_by_their_subject() {
    for subject in [
        "[Automatic reply] Invoice 7",
        "Vacation response",
        "Automatische Abwesenheitsmeldung",
        "Abwesenheitsbenachrichtigung",
        "Afwezigheidsbericht",
        "Odpowied\u{17a} automatyczna: Faktura 7",
        "Autom\u{101}tisk\u{101} atbilde: 7",
        "Automatinis atsakymas: 7",
        "Sj\u{e1}lfvirkt svar",
        "\u{410}\u{432}\u{442}\u{43e}\u{43c}\u{430}\u{442}\u{438}\u{447}\u{435}\u{43d} \u{43e}\u{442}\u{433}\u{43e}\u{432}\u{43e}\u{440}: 7",
        "Tr\u{1ea3} l\u{1edd}i t\u{1ef1} \u{111}\u{1ed9}ng: 7",
        "\u{e15}\u{e2d}\u{e1a}\u{e01}\u{e25}\u{e31}\u{e1a}\u{e2d}\u{e31}\u{e15}\u{e42}\u{e19}\u{e21}\u{e31}\u{e15}\u{e34}",
        "\u{5de}\u{5e2}\u{5e0}\u{5d4} \u{5d0}\u{5d5}\u{5d8}\u{5d5}\u{5de}\u{5d8}\u{5d9}: 7",
        "\u{3010}\u{81ea}\u{52d5}\u{8fd4}\u{4fe1}\u{3011}7",
        "\u{5916}\u{51fa}\u{81ea}\u{52a8}\u{56de}\u{590d}",
        "\u{bd80}\u{c7ac}\u{c911} \u{c790}\u{b3d9}\u{c751}\u{b2f5}",
    ] {
        assert_eq!(answer(subject, ""), "bob@example.com Answer", "{subject}");
    }
}

#[test]
fn who_tells_where_he_is_in_subject_and_text_is_away() {
    let written = |subject: &str, text: &str| {
        described(format!("From: Bob <bob@example.com>\nTo: app@sender.example\nSubject: {subject}\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n").as_bytes())
    };
    for (subject, text) in [
        ("Away", "I will be back on Monday."),
        ("Urlaub", "Ich bin im Urlaub und ab Montag wieder im B\u{fc}ro."),
        ("Absent(e)", "Je suis absent, de retour lundi."),
        ("F\u{e9}rias", "Estou de f\u{e9}rias."),
        ("Fuori sede", "Sono fuori ufficio."),
        ("Dovolen\u{e1}!", "M\u{e1}m dovolenou."),
        (
            "\u{4f11}\u{6687}\u{4e2d}",
            "\u{672c}\u{65e5}\u{306f}\u{4f11}\u{6687}\u{3092}\u{3044}\u{305f}\u{3060}\u{3044}\u{3066}\u{304a}\u{308a}\u{307e}\u{3059}\u{3002}",
        ),
        ("\u{bd80}\u{c7ac} \u{c911}: 7", "\u{d734}\u{ac00} \u{c911}\u{c785}\u{b2c8}\u{b2e4}."),
    ] {
        assert_eq!(written(subject, text), "bob@example.com Answer", "{subject}");
        assert_eq!(written(subject, "x"), "none", "{subject}");
    }
}

#[test]
fn answers_of_machines_are_told_by_their_fields() {
    for fields in [
        "Auto-Submitted: auto-replied\n",
        "Auto-Submitted: auto-replied (vacation)\nX-Auto-Response-Suppress: All\n",
        "Auto-Submitted: auto-generated\n",
        "Precedence: auto_reply\n",
        "X-Precedence: auto_reply\n",
        "X-Autoreply: yes\n",
        "X-Autorespond: Invoice 7\n",
        "X-Mail-Autoreply: 1\n",
        "X-FC-MachineGenerated: true\n",
        "X-Vacation: 1\n",
        "Delivered-To: Autoresponder\n",
        "X-Amazon-Auto-Reply: true\n",
        "X-MS-Exchange-Inbox-Rules-Loop: bob@example.com\nReturn-Path: <>\n",
        "Return-Path: <>\n",
        "X-Autoresponse: 1\n",
        "X-MS-Exchange-Generated-Message-Source: Mailbox Rules Agent\n",
    ] {
        assert_eq!(answer("Re: Invoice 7", fields), "bob@example.com Answer", "{fields}");
    }
}

#[test]
fn what_people_answer_is_no_answer_of_a_machine_and_no_bounce() {
    for (subject, fields) in [
        ("Re: Invoice 7", ""),
        ("Re: Automated invoices", ""),
        ("Re: Invoice 7", "Auto-Submitted: no\n"),
        ("Re: Invoice 7", "Precedence: bulk\nList-Id: <x.example>\n"),
        ("Re: Invoice 7", "X-Auto-Response-Suppress: All\n"),
        ("Re: Invoice 7", "X-Mailer: Microsoft Outlook 16.0\n"),
        ("SV: Faktura 7", "Importance: high\n"),
    ] {
        assert_eq!(answer(subject, fields), "none", "{subject} {fields}");
    }
    let written = |subject: &str, text: &str| {
        described(format!("From: Bob <bob@example.com>\nTo: app@sender.example\nSubject: {subject}\n\n{text}\n").as_bytes())
    };
    for (subject, text) in [
        (
            "My parcel was not delivered",
            "The courier says that it could not be delivered. Please call me.",
        ),
        (
            "Delivery failed again",
            "Hello, nobody rang. My address is unknown to your driver, it seems.",
        ),
        ("Order 550", "I ordered 550 pieces, which have been delayed."),
        ("Returned mail", "Your letter was returned to sender. Write to bob@example.com instead."),
        (
            "Re: Undeliverable: hello",
            "I see this when I write to you:\n\n> 550 5.1.1 User unknown\n\nWhat now?",
        ),
        (
            "Fwd: failure notice",
            "Can you help?\n\n<eve@example.org>:\n550 5.1.1 no mailbox here by that name",
        ),
        ("Complaint about message 7", "This is spam, stop it."),
        ("Read: the contract", "I have read it and agree, see you on Monday."),
    ] {
        assert_eq!(written(subject, text), "none", "{subject}");
    }
}
