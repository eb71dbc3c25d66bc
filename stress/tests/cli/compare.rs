//! `compare` tells how both did, as a table, as a page and for programs.

use serde_json::Value;

use crate::run;

#[test]
fn both_are_in_the_table_the_page_and_the_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("beside");
    let args =
        ["compare", "--duration", "200ms", "--seed", "4", "--blocks", "300", "--freeze", "50"];
    let args = [&args[..], &["--freeze-time", "2ms", "--report", path.to_str().unwrap()]].concat();
    let (code, out, err) = run(&args);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("seed 4\nheld: "), "{out}");
    let json: Value =
        serde_json::from_slice(&std::fs::read(path.join("report.json")).unwrap()).unwrap();
    let page = std::fs::read_to_string(path.join("report.html")).unwrap();
    for (side, name) in json["sides"].as_array().unwrap().iter().zip(["latchless", "mutex_owner"]) {
        assert_eq!(side["name"], name);
        assert!(side["operations"].as_u64() > Some(0) && side["all"]["p99_9"].is_u64(), "{side}");
        assert!(out.contains(&format!("| {name} ")) && page.contains(name), "{out}");
    }
    assert_eq!(page.matches("<svg ").count(), 2);
    assert_eq!(json["contest"]["duration"], "200ms");
    let command = json["command"].as_str().unwrap();
    assert!(command.contains("compare --duration 200ms --seed 4 ") && out.contains(command));

    // It is no report of a run.
    let (code, _, err) = run(&["replay", path.to_str().unwrap()]);
    assert_eq!(code, Some(2));
    assert!(err.contains("is no report of a run"), "{err}");
}

#[test]
fn a_comparison_is_refused_before_it_begins() {
    for (args, advice) in [
        (&["--duration", "0s"][..], "give at least 1ms"),
        (&["--threads", "33"], "1..=32"),
        (&["--freeze", "often"], "such as 5 or 0.2"),
        (&["--report", "/no/such/folder/report"], "choose another --report"),
    ] {
        let (code, out, err) = run(&[&["compare"], args].concat());
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(advice), "{err}");
    }
}
