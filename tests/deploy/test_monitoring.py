"""Alert rules and the dashboard: valid PromQL over metrics and labels that the workers really export."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from deploy_files import COMPOSE, DASHBOARD, DEPLOY, RULES
from exported_metrics import exported

METRICS = exported()
#: Prometheus's own and its client's, for every job.
ALWAYS = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]
}
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"] if panel["type"] != "row"}
SCRAPED = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))
CASES = Path(__file__).with_name("alert_cases.yml")


def queries() -> Iterator[tuple[str, str]]:
    """(where, PromQL), Grafana's variables replaced by what Grafana would put there."""
    for name, rule in ALERTS.items():
        yield name, rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['id']} {panel['title']}", target["expr"].replace("$__rate_interval", "1m")


def nodes(expr: str) -> list[Any]:
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expr), found.append)
    return found


def faults(expr: str) -> list[str]:
    """Metrics that nobody exports, and labels that a metric does not have."""
    wrong = []
    labels = {"job", "instance", "le"}
    for node in nodes(expr):
        if isinstance(node, promql_parser.VectorSelector):
            name = str(node.name)
            if name not in METRICS and name not in ALWAYS:
                wrong.append(f"no metric {name}")
                continue
            own = {"job", "instance"} | (METRICS[name].labels if name in METRICS else set())
            labels |= own
            wrong += [f"{name} has no label {m.name}" for m in node.matchers.matchers if m.name not in own]
    for node in nodes(expr):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            wrong += [f"no label {name}" for name in node.modifier.labels if name not in labels]
    return wrong


@pytest.mark.parametrize(("where", "expr"), list(queries()), ids=[where for where, _ in queries()])
def test_it_asks_for_what_is_exported(where: str, expr: str) -> None:
    assert faults(expr) == []


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("rate(streamrec_exampels_total[1m])", "no metric streamrec_exampels_total"),
        ("streamrec_examples_total{modle='m'}", "streamrec_examples_total has no label modle"),
        ("sum by (modle) (streamrec_examples_total)", "no label modle"),
    ],
)
def test_the_check_can_fail(expr: str, fault: str) -> None:
    assert faults(expr) == [fault]


def test_broken_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        nodes("sum by (model) (rate(streamrec_examples_total[1m])")


def test_jobs_are_those_of_the_rules_and_their_ports_those_of_the_workers() -> None:
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in SCRAPED["scrape_configs"]}
    assert set(jobs) == {metric.job for metric in METRICS.values()}
    for name, found in jobs.items():
        environment = COMPOSE["services"][name]["environment"]
        assert found["names"] == [name]
        assert found["port"] == environment.get("STREAMREC_METRICS_PORT", environment.get("STREAMREC_PORT"))
    used = {m.value for _, expr in queries() for n in nodes(expr) for m in _matchers(n) if m.name == "job"}
    assert {job for value in used for job in value.split("|")} <= set(jobs)


def _matchers(node: Any) -> list[Any]:
    return node.matchers.matchers if isinstance(node, promql_parser.VectorSelector) else []


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_whom_to_wake(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert len(rule["annotations"]["summary"]) > 20
    assert rule["for"]


def test_rule_files_are_mounted() -> None:
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["prometheus"]["volumes"]]
    for name in SCRAPED["rule_files"]:
        assert f"/etc/prometheus/{name}" in mounted


def test_the_dashboard_shows_what_was_asked_for() -> None:
    wanted = {
        "Throughput",
        "Lag",
        "Normalised entropy",
        "Calibration",
        "Dead letters per second",
        "Commit age",
        "Watermark lag",
        "Freshness",
        "Items in the index",
        "Recall of live answers",
        "Latency of /v1/retrieve and /v1/recommend",
        "Impressions of /v1/recommend per second",
        "Compaction of the index",
    }
    assert wanted <= set(PANELS)


def test_every_metric_of_an_alert_is_on_the_dashboard() -> None:
    def metrics(exprs: Iterable[str]) -> set[str]:
        found = (node for expr in exprs for node in nodes(expr))
        return {str(node.name) for node in found if isinstance(node, promql_parser.VectorSelector)}

    shown = metrics(expr for where, expr in queries() if where not in ALERTS)
    assert metrics(rule["expr"] for rule in ALERTS.values()) - shown - {"up"} == set()


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert not panel.get("targets") or all(target["expr"] for target in panel["targets"])
    assert not _overlapping([panel["gridPos"] for panel in DASHBOARD["panels"]])


def _overlapping(places: list[dict[str, int]]) -> bool:
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    return len(set(cells)) < len(cells)


def test_grafana_finds_its_data_and_the_dashboard() -> None:
    provisioning = DEPLOY / "dashboards" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    uids = set(re.findall(r'"uid": "(\w+)"', (DEPLOY / "dashboards" / "streamrec.json").read_text("utf-8")))
    assert uids == {source["uid"], DASHBOARD["uid"]}
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "streamrec.yml").read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/streamrec.json" in mounted
    assert "/etc/grafana/provisioning" in mounted


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    cases = yaml.safe_load(CASES.read_text("utf-8"))
    fired = {
        test["alertname"] for case in cases["tests"] for test in case["alert_rule_test"] if test["exp_alerts"]
    }
    assert fired == set(ALERTS)


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    """Prometheus's own tool computes the rules over made-up series."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine (Debian: apt-get install prometheus)")
    for path in (DEPLOY / "alerts.yml", CASES):
        shutil.copy(path, tmp_path)
    command = ["promtool", "test", "rules", CASES.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
