//! `packaging/kubernetes.yaml`: the manifests agree with each other and with the image, and the
//! program takes their configuration and answers their probes.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use support::{Request, Setup};

const MANIFESTS: &str = include_str!("../../packaging/kubernetes.yaml");
const IMAGE: &str = include_str!("../../packaging/Containerfile");

/// The manifests by their kind.
fn manifests() -> BTreeMap<String, Value> {
    let documents = MANIFESTS.split("\n---\n");
    let parsed = documents.map(|it| serde_norway::from_str::<Value>(it).expect("it is YAML"));
    parsed
        .map(|it| (text(&it["kind"]).to_owned(), it))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value}"))
}

/// What a mount of the pod leads to, in this directory.
fn mounted(root: &Path, settings: &str) -> String {
    let keys = root.join("keys");
    std::fs::create_dir(&keys).unwrap();
    // The command at the top makes the secret's files.
    for made in MANIFESTS.split("--from-literal=").skip(1) {
        let (name, _) = made.split_once('=').unwrap();
        let key = format!("{name}-0123456789abcdef01234567");
        std::fs::write(keys.join(name), key).unwrap();
    }
    settings
        .replace("/etc/holdfast/keys", &keys.display().to_string())
        .replace("0.0.0.0:8080", "127.0.0.1:0")
        .replace("0.0.0.0:9090", "127.0.0.1:0")
}

#[test]
fn the_program_starts_with_the_settings_and_answers_the_probes_where_they_are_sent() {
    let all = manifests();
    let settings = text(&all["ConfigMap"]["data"]["holdfast.toml"]);
    let container = &all["StatefulSet"]["spec"]["template"]["spec"]["containers"][0];
    let root = tempfile::tempdir().unwrap();
    let server = Setup::plain()
        .config(&mounted(root.path(), settings))
        .start();
    let listening = server.log.wait_for("listening").unwrap();
    let admin_address = text(&listening["admin_address"]).parse().unwrap();
    let mut probes = 0;
    for name in ["livenessProbe", "readinessProbe"] {
        let probe = &container[name]["httpGet"];
        assert_eq!(probe["port"], "admin", "{name}");
        let asked = Request::get(text(&probe["path"]));
        let answer = support::Client::connect(admin_address).ask(&asked);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        probes += 1;
    }
    assert_eq!(probes, 2);
    // Nothing of administration is behind the Service.
    let key = "admin-key-0123456789abcdef01234567";
    let status = Request::get("/admin/status").key(key);
    assert_eq!(server.ask(&status).status, 404);
    let answer = support::Client::connect(admin_address).ask(&status);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn the_manifests_agree_with_each_other_and_with_the_image() {
    let all = manifests();
    let set = &all["StatefulSet"]["spec"];
    let pod = &set["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(set["replicas"], 1, "a data directory has one process");
    let labels = &set["template"]["metadata"]["labels"];
    assert_eq!(&set["selector"]["matchLabels"], labels);
    assert_eq!(&all["Service"]["spec"]["selector"], labels);

    let settings = text(&all["ConfigMap"]["data"]["holdfast.toml"]);
    let settings: toml::Table = settings.parse().unwrap();
    let server = settings["server"].as_table().unwrap();
    let ports: Vec<(&str, String)> = [("http", "listen"), ("admin", "admin_listen")]
        .map(|(port, key)| (port, server[key].as_str().unwrap().to_owned()))
        .into();
    let named: Vec<(&str, String)> = list(&container["ports"])
        .iter()
        .map(|it| {
            (
                text(&it["name"]),
                format!("0.0.0.0:{}", it["containerPort"]),
            )
        })
        .collect();
    assert_eq!(named, ports);
    let reached: Vec<&str> = list(&all["Service"]["spec"]["ports"])
        .iter()
        .map(|it| text(&it["targetPort"]))
        .collect();
    assert_eq!(reached, ["http"]);

    let seconds = |key: &str| server[key].as_integer().unwrap();
    let grace = pod["terminationGracePeriodSeconds"].as_i64().unwrap();
    assert!(
        grace >= seconds("leave_s") + seconds("drain_s") + 10,
        "{grace}"
    );

    let user = pod["securityContext"]["runAsUser"].to_string();
    assert!(IMAGE.contains(&format!("USER {user}:{user}")), "{user}");
    assert_eq!(pod["securityContext"]["fsGroup"].to_string(), user);
    let restricted = &container["securityContext"];
    assert_eq!(restricted["readOnlyRootFilesystem"], true);
    assert_eq!(restricted["allowPrivilegeEscalation"], false);
    assert_eq!(restricted["capabilities"]["drop"][0], "ALL");

    // The data is below the volume; what is read is below the other mounts.
    let paths: BTreeMap<&str, &str> = list(&container["volumeMounts"])
        .iter()
        .map(|it| (text(&it["name"]), text(&it["mountPath"])))
        .collect();
    let environment = &container["env"][0];
    assert_eq!(environment["name"], "HOLDFAST_STORAGE__DATA_DIR");
    assert!(text(&environment["value"]).starts_with(&format!("{}/", paths["data"])));
    assert!(text(&container["args"][2]).starts_with(paths["config"]));
    let claim = &set["volumeClaimTemplates"][0];
    assert_eq!(claim["metadata"]["name"], "data");
    let volumes: Vec<&str> = list(&pod["volumes"])
        .iter()
        .map(|it| text(&it["name"]))
        .collect();
    assert_eq!(volumes, ["config", "keys"]);
}
