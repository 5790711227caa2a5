//! Sample mail, as the applications of a small company would send it, submitted over SMTP.

use std::net::SocketAddr;

use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::text::Text;
use mail_send::smtp::message::Message;
use mail_send::{SmtpClient, SmtpClientBuilder};
use tokio::net::TcpStream;

/// Where reports come back, as the demo's configuration has it.
pub(super) const RETURN_PATH: &str = "bounce@bounces.demo.example";

/// One sample: what it shows, who gets it, and the bytes.
struct Sample {
    shows: &'static str,
    reverse_path: &'static str,
    recipients: &'static [&'static str],
    raw: Vec<u8>,
}

/// Why the samples could not be submitted.
#[derive(Debug, thiserror::Error)]
#[error("the samples can not be submitted: {0}")]
pub(super) struct SampleError(String);

impl SampleError {
    pub(super) fn new(error: &dyn std::fmt::Display) -> SampleError {
        SampleError(error.to_string())
    }
}

/// Submits everything over one connection. Gives, for each, what it shows and how it was answered.
pub(super) async fn submit(
    gateway: SocketAddr,
) -> Result<Vec<(&'static str, String)>, SampleError> {
    let failed = |error: &dyn std::fmt::Display| SampleError(error.to_string());
    let samples = samples().map_err(|error| failed(&error))?;
    let mut client = connect(gateway, "erp.demo.example").await?;
    let mut submitted = Vec::new();
    for sample in samples {
        let message =
            Message::new(sample.reverse_path, sample.recipients.iter().copied(), sample.raw);
        client.send(message).await.map_err(|error| failed(&error))?;
        submitted.push((sample.shows, sample.recipients.join(", ")));
    }
    // The samples are in the archive; how the connection ends changes nothing.
    let _ = client.quit().await;
    Ok(submitted)
}

/// A connection to a port of the gateway.
pub(super) async fn connect(
    gateway: SocketAddr,
    hello: &str,
) -> Result<SmtpClient<TcpStream>, SampleError> {
    let builder = SmtpClientBuilder::new(gateway.ip().to_string(), gateway.port());
    let builder = builder.map_err(|error| SampleError::new(&error))?;
    let connected = builder.implicit_tls(false).helo_host(hello).connect_plain().await;
    connected.map_err(|error| SampleError::new(&error))
}

const INVOICE_HTML: &str = "<h1>Invoice INV-12345</h1><p>Dear Kim,</p><p>please find your invoice \
    <b>INV-12345</b> over <b>1.250,00 €</b> attached.</p>\
    <p><a href=\"https://shop.demo.example/pay?invoice=INV-12345\">Pay now</a></p>\
    <p>Anna Berg</p>";

fn samples() -> std::io::Result<Vec<Sample>> {
    let invoice = invoice_pdf();
    let finance = || from("Anna Berg", "anna@demo.example");
    let text = "Dear Kim,\r\n\r\nplease find your invoice INV-12345 attached.\r\n\r\nAnna Berg\r\n";
    let mail = MessageBuilder::new()
        .from(finance())
        .to(from("Kim Møller", "kim@customer.example"))
        .subject("Invoice INV-12345")
        .header("X-Waybill-Tag", Text::new("invoice"))
        .text_body(text)
        .html_body(INVOICE_HTML)
        .attachment("application/pdf", "INV-12345.pdf", invoice.clone());
    let first = sample(
        "an invoice with an attachment: one opens it and clicks, before the other stands a scanner",
        "anna@demo.example",
        &["kim@customer.example", "scanned@customer.example"],
        mail,
    )?;
    let mail = MessageBuilder::new()
        .from(finance())
        .to(from("Kim Møller", "kim@customer.example"))
        .subject("Reminder: invoice INV-12345")
        .header("X-Waybill-Tag", Text::new("reminder"))
        .header("Disposition-Notification-To", Text::new(RETURN_PATH))
        .text_body("Dear Kim,\r\n\r\ninvoice INV-12345 is due tomorrow.\r\n")
        .attachment("application/pdf", "INV-12345.pdf", invoice);
    let second = sample(
        "the same attachment again, stored once; its reader confirms reading",
        "anna@demo.example",
        &["kim@customer.example"],
        mail,
    )?;
    let mail = MessageBuilder::new()
        .from(from("Shop", "shop@demo.example"))
        .to(from("Bo", "bo@customer.example"))
        .subject("Order ORD-777 is being prepared")
        .header("X-Waybill-Hold", Text::new("manual"))
        .text_body("Hello Bo,\r\n\r\nyour order ORD-777 is being prepared.\r\n");
    let third = sample(
        "held until somebody releases it",
        "shop@demo.example",
        &["bo@customer.example"],
        mail,
    )?;
    let mail = MessageBuilder::new()
        .from(from("Shop", "shop@demo.example"))
        .to(from("Nobody", "bounce@customer.example"))
        .cc(from("Lee", "later@customer.example"))
        .subject("Order ORD-778 was shipped")
        .text_body("Hello,\r\n\r\nyour order ORD-778 was shipped.\r\n");
    let fourth = sample(
        "one recipient does not exist, the other's server answers only the second time",
        "shop@demo.example",
        &["bounce@customer.example", "later@customer.example"],
        mail,
    )?;
    let mail = MessageBuilder::new()
        .from(from("Shop", "shop@demo.example"))
        .to(from("Toni", "moved@customer.example"))
        .subject("Your customer account")
        .text_body("Hello Toni,\r\n\r\nyour account is ready.\r\n");
    let fifth = sample(
        "taken, and bounced afterwards",
        "shop@demo.example",
        &["moved@customer.example"],
        mail,
    )?;
    Ok(vec![first, second, third, fourth, fifth])
}

fn from(name: &'static str, address: &'static str) -> Address<'static> {
    Address::new_address(Some(name), address)
}

fn sample(
    shows: &'static str,
    reverse_path: &'static str,
    recipients: &'static [&'static str],
    mail: MessageBuilder<'_>,
) -> std::io::Result<Sample> {
    Ok(Sample { shows, reverse_path, recipients, raw: mail.write_to_vec()? })
}

/// A small but complete PDF (ISO 32000-1 §7.5): one page, a line of text, a picture of 40 KB.
fn invoice_pdf() -> Vec<u8> {
    const SIDE: u32 = 116;
    let pixel = |x: u32, y: u32| [(2 * x) as u8, (2 * y) as u8, (x + y) as u8];
    let picture: Vec<u8> = (0..SIDE * SIDE).flat_map(|n| pixel(n % SIDE, n / SIDE)).collect();
    let page = "BT /F1 24 Tf 72 770 Td (Invoice INV-12345) Tj ET q 200 0 0 200 72 540 cm /I1 Do Q";
    let objects: [Vec<u8>; 6] = [
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
          /Resources << /Font << /F1 5 0 R >> /XObject << /I1 6 0 R >> >> >>"
            .to_vec(),
        stream("", page.as_bytes()),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_vec(),
        stream(
            &format!(
                "/Type /XObject /Subtype /Image /Width {SIDE} /Height {SIDE} \
                 /ColorSpace /DeviceRGB /BitsPerComponent 8 "
            ),
            &picture,
        ),
    ];
    let mut pdf = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (number, object) in (1..).zip(&objects) {
        offsets.push(pdf.len());
        pdf.extend(format!("{number} 0 obj\n").into_bytes());
        pdf.extend(object);
        pdf.extend(b"\nendobj\n");
    }
    let table = pdf.len();
    pdf.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    for offset in offsets {
        pdf.extend(format!("{offset:010} 00000 n \n").into_bytes());
    }
    let size = objects.len() + 1;
    let trailer = format!("trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n");
    pdf.extend(trailer.into_bytes());
    pdf
}

fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let mut object = format!("<< {dictionary}/Length {} >>\nstream\n", content.len()).into_bytes();
    object.extend(content);
    object.extend(b"\nendstream");
    object
}
