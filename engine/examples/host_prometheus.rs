//! A host that Prometheus scrapes: an engine at work, and a page with its metrics on 127.0.0.1.
//!
//! ```text
//! cargo run -p latchless-engine --no-default-features --features metrics --example host_prometheus -- --once
//! cargo run --release -p latchless-engine --features metrics --example host_prometheus -- --port 9464 --model model.gguf
//! ```
//!
//! The numbers are taken when the page is asked for: nothing runs in between. `docs/grafana/latchless.json`
//! is a dashboard for them.

mod host;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use clap::Parser;
use latchless::Census;
use latchless::observe::{describe, export};
use latchless_engine::observe;
use latchless_engine::prelude::*;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    host: host::Options,

    /// Where the page is: `http://127.0.0.1:PORT/metrics`; 0 takes any port
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Ask the page for itself once, print it and end
    #[arg(long)]
    once: bool,
}

/// The page as it is now.
fn page(engine: &Engine, prometheus: &PrometheusHandle) -> String {
    observe::export(&engine.snapshot(), &[]);
    // A census walks over all blocks in use: at a scrape that is nothing.
    export(&engine.pool().census(), &[("lane", "0")]);
    prometheus.render()
}

/// Answers whoever asks, one after the other.
fn serve(
    listener: &TcpListener,
    times: usize,
    page: impl Fn() -> String,
) -> Result<(), host::Error> {
    for stream in listener.incoming().take(times) {
        let mut stream = stream?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let request = BufReader::new(&stream).lines().next().transpose()?.unwrap_or_default();
        let (status, body) = match request.split(' ').nth(1) {
            Some("/metrics") => ("200 OK", page()),
            _ => ("404 Not Found", "the metrics are at /metrics\n".to_owned()),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len(),
        )?;
    }
    Ok(())
}

fn get(port: u16) -> Result<String, host::Error> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    Ok(std::io::read_to_string(stream)?)
}

fn main() -> Result<(), host::Error> {
    run(&Cli::parse())
}

fn run(cli: &Cli) -> Result<(), host::Error> {
    let prometheus = PrometheusBuilder::new().install_recorder()?;
    observe::describe();
    describe::<Census>();

    let engine = cli.host.start(1)?;
    let agent = engine.agent("physicist")?;
    let answer = engine.submit(agent, cli.host.request("Why is the sky blue?"))?.wait();
    eprintln!("{}", answer.text);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, cli.port))?;
    let port = listener.local_addr()?.port();
    eprintln!("http://127.0.0.1:{port}/metrics");
    let times = if cli.once { 1 } else { usize::MAX };
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(&listener, times, || page(&engine, &prometheus)));
        if cli.once {
            println!("{}", get(port)?);
        }
        server.join().map_err(|_| "the server panicked")?
    })
}

#[test]
fn the_page_has_what_the_engine_did() {
    run(&Cli::parse_from(["prometheus", "--once"])).unwrap();
}
