//! Every folder of `examples/` loads without a problem.

use std::{fs, path::Path};

use ferrix_control::{
    files,
    settings::{GatewaySettings, Settings},
};
use ferrix_table::table::EntryPoint;

#[test]
fn examples_load_without_a_word() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    // Those of `ferrix run --files` without a settings file.
    let entry_points = vec![EntryPoint::http("web"), EntryPoint::https("websecure")];
    let mut examples = 0;
    for example in fs::read_dir(folder).expect("the examples") {
        let example = example.expect("an entry").path();
        if !example.is_dir() {
            continue;
        }
        let mut settings = Settings::for_files(entry_points.clone());
        let ports = [("web", 6190), ("websecure", 6191)];
        settings.gateway = Some(GatewaySettings {
            exposed_ports: ports.map(|(name, port)| (name.to_owned(), port)).into(),
            ..GatewaySettings::default()
        });
        let (table, report) = files::load(&example, &settings).expect("a folder");
        // `tls` on the plain `web` of the quickstart is served plain, and that is worth a word.
        let expected = match example.ends_with("quickstart") {
            true => 1,
            false => 0,
        };
        let findings: Vec<_> = report.findings().map(|it| it.to_string()).collect();
        assert_eq!(
            findings.len(),
            expected,
            "{}: {findings:#?}",
            example.display()
        );
        assert_eq!(report.problems().count(), 0, "{}", example.display());
        assert!(!table.rules.is_empty(), "{}", example.display());
        for service in &*table.services {
            assert!(
                !service.endpoints.is_empty(),
                "{}: {}",
                example.display(),
                service.id
            );
        }
        examples += 1;
    }
    assert!(examples >= 6, "only {examples} examples were found");
}
