"""Small results on this machine: patterns, what comes, what does not, and what Dagster shows."""

# No lazy annotations: Dagster wants to see the types of assets' parameters.

import fnmatch
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_slurm import ComputeResource
from dagster_slurm.core.patterns import patterns
from dagster_slurm.engine.fetching import Source, fetch
from dagster_slurm.errors import ConfigurationError, ResultNotFetched
from dagster_slurm.managers import HetJobComponent
from dagster_slurm.pipes.fetched import value_of
from dagster_slurm.resources import targets
from tests.dagster.conftest import BOTH
from tests.dagster.support import Bench, Ran

pytestmark = pytest.mark.filterwarnings("ignore:InitResourceContext.dagster_run is deprecated:DeprecationWarning")

PNG = "89504e470d0a1a0a"
NAME = st.text(st.characters(exclude_characters="/\0"), min_size=1).filter(lambda name: name not in (".", ".."))


def matches(pattern: str, name: str) -> bool:
    (found,) = patterns([pattern])
    return re.fullmatch(found.regex, name, re.DOTALL) is not None


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("metrics.json", "metrics.json", "metrics_json"),
        ("./plots//a.png", "plots/a.png", "a.png"),
        ("*.png", "a b.png", "plots/a.png"),
        ("**/*.png", "a.png", "a.jpg"),
        ("**/*.png", "x/y/a.png", "x/y/a.png/z"),
        ("plots/", "plots/x/y", "plots2/x"),
        ("plots/**", "plots/x", "plots"),
        ("a/**/**/b", "a/b", "a/c"),
        ("?[1].txt", "x[1].txt", "x1.txt"),
        ("*", "new\nline", "a/b"),
        (".hidden*", ".hidden", "hidden"),
    ],
)
def test_what_a_pattern_matches(pattern: str, yes: str, no: str) -> None:
    assert matches(pattern, yes)
    assert not matches(pattern, no)


@given(NAME, st.text("ab*?.", min_size=1).filter(lambda text: text.strip(".*") or text == "*"))
def test_one_name_as_fnmatch_sees_it(name: str, pattern: str) -> None:
    if "**" not in pattern and pattern.strip("."):
        assert matches(pattern, name) == fnmatch.fnmatchcase(name, pattern)


@given(st.lists(NAME, min_size=1, max_size=4))
def test_a_name_matches_itself(parts: list[str]) -> None:
    name = "/".join(parts)
    if not set(name) & set("*?~") and name.strip("/."):
        assert matches(name, name)


@pytest.mark.parametrize(
    "bad", ["x.png", ["../x"], ["/etc/passwd"], ["~/x"], [""], ["."], ["a/../../b"], [7], 3, ["a\0"]]
)
def test_patterns_that_are_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="fetch"):
        patterns(bad)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A result with names of all kinds."""
    root = tmp_path / "re sult"
    for name in ("a b.txt", "sub/x'y.txt", "sub/deep/z.txt", "-rf", "é.txt", "large.bin"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() * 1000)
    (root / "large.bin").write_bytes(os.urandom(3_500_000))
    return root


def bring(root: Path, *names: str, into: Path, limit: int = 10**8, inode: int = 0) -> tuple[dict[str, Path], list[str]]:
    warnings: list[str] = []
    host = targets.local(None).host
    source = Source(str(root), inode=inode)
    return fetch(host, [source], patterns(names), into, limit=limit, warn=warnings.append), warnings


def test_files_come_as_they_are(folder: Path, tmp_path: Path) -> None:
    found, warnings = bring(folder, "**", into=tmp_path / "here")
    assert sorted(found) == ["-rf", "a b.txt", "large.bin", "sub/deep/z.txt", "sub/x'y.txt", "é.txt"]
    assert all(path.read_bytes() == (folder / name).read_bytes() for name, path in found.items())
    assert warnings == []
    assert not list((tmp_path / "here").rglob("*.part"))


def test_what_was_begun_is_taken_up_and_what_is_there_stays(folder: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    host = targets.local(None).host
    asked: list[tuple[int, int]] = []

    class Cut:
        """The channel's end of a process that dies in the third piece."""

        name = host.name

        def request(self, operation: str, **fields: Any) -> Any:
            if operation == "file_piece":
                if len(asked) == 2:
                    raise KeyboardInterrupt
                asked.append((fields["at"], fields["bytes"]))
            return host.request(operation, **fields)

    with pytest.raises(KeyboardInterrupt):
        fetch(Cut(), [Source(str(folder))], patterns(["large.bin"]), here, limit=10**8, warn=print)  # pyright: ignore[reportArgumentType]
    (part,) = here.glob(".*.part")
    assert part.stat().st_size == 2 << 20
    asked.clear()
    found = fetch(Cut(), [Source(str(folder))], patterns(["large.bin"]), here, limit=10**8, warn=print)  # pyright: ignore[reportArgumentType]
    assert asked == [(2 << 20, 1 << 20), (3 << 20, 3_500_000 - (3 << 20))]
    assert found["large.bin"].read_bytes() == (folder / "large.bin").read_bytes()
    assert not list(here.glob(".*.part"))
    before = found["large.bin"].stat().st_ino
    assert bring(folder, "large.bin", into=here)[0]["large.bin"].stat().st_ino == before
    (folder / "large.bin").write_bytes(b"other")
    assert bring(folder, "large.bin", into=here)[0]["large.bin"].read_bytes() == b"other"


def test_a_damaged_part_is_thrown_away(folder: Path, tmp_path: Path) -> None:
    found, _ = bring(folder, "large.bin", into=tmp_path / "here")
    content = found["large.bin"].read_bytes()
    found["large.bin"].unlink()
    part = tmp_path / "here" / f".{hashlib.sha256(content).hexdigest()[:32]}.part"
    part.write_bytes(b"damaged")
    assert bring(folder, "large.bin", into=tmp_path / "here")[0]["large.bin"].read_bytes() == content


def test_a_pattern_that_matches_nothing_is_said(folder: Path, tmp_path: Path) -> None:
    found, (warning,) = bring(folder, "no such*", "a*", into=tmp_path / "here")
    assert list(found) == ["a b.txt"]
    assert warning == f"fetch: 'no such*' matches nothing in {folder}."
    assert bring(tmp_path / "absent", "*", into=tmp_path / "here")[0] == {}


def test_too_much_is_refused_before_anything_travels(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultNotFetched) as caught:
        bring(folder, "*", into=tmp_path / "here", limit=3_000_000)
    assert "3.0 MB is the most" in str(caught.value)
    assert "large.bin (3.5 MB)" in str(caught.value)
    assert "does not run it again" in str(caught.value)
    assert not (tmp_path / "here").exists()


def test_too_many_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "many").mkdir()
    for number in range(1001):
        (folder / "many" / str(number)).touch()
    with pytest.raises(ResultNotFetched, match="more than 1000 files"):
        bring(folder, "many/*", into=tmp_path / "here")


def test_links_out_of_the_folder_stay(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (folder / "out.txt").symlink_to(secret)
    (folder / "far").symlink_to(tmp_path)
    (folder / "dangling.txt").symlink_to("nowhere")
    (folder / "loop.txt").symlink_to("loop.txt")
    (folder / "in.txt").symlink_to("a b.txt")
    os.mkfifo(folder / "pipe.txt")
    found, warnings = bring(folder, "*.txt", "far/*", into=tmp_path / "here")
    assert sorted(found) == ["a b.txt", "in.txt", "é.txt"]
    assert not found["in.txt"].is_symlink()
    assert f"fetch: out.txt is a link that leads out of {folder}: it stays there." in warnings
    assert not any(path.read_bytes() == b"secret" for path in found.values())


def test_a_result_that_another_run_replaced(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultNotFetched, match="another run replaced it"):
        bring(folder, "*", into=tmp_path / "here", inode=7)


def test_no_room_here(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("a file in the way")
    with pytest.raises(ResultNotFetched, match="was not fetched"):
        bring(folder, "*", into=tmp_path / "here")


# --- as assets see it

WRITE = f"""
folder = os.environ["DAGSTER_SLURM_OUTPUT_DIR"]
json.dump({{"loss": 0.5}}, open(folder + "/metrics.json", "w"))
open(folder + "/plot 1.png", "wb").write(bytes.fromhex("{PNG}"))
open(folder + "/table.csv", "w").write("city,bikes\\nWien,5\\n")
open(folder + "/huge.bin", "wb").write(b"x" * 2_000_000)
"""


def asset_that_fetches(payload: Any, seen: dict[str, Any], **arguments: Any) -> dg.AssetsDefinition:
    @dg.asset
    def one(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        completed = compute.run(context=context, payload_path=payload, **arguments)
        seen.update(completed.fetched)
        return completed

    return one


@BOTH
def test_what_is_fetched_is_shown(any_bench: Bench) -> None:
    seen: dict[str, Any] = {}
    asset = asset_that_fetches(any_bench.payloads.pipes(WRITE), seen, fetch=["metrics.json", "*.png", "*.csv"])
    ran = any_bench.materialize(asset)
    assert ran.success, ran.logged()
    assert sorted(seen) == ["metrics.json", "plot 1.png", "table.csv"]
    assert json.loads(seen["metrics.json"].read_text()) == {"loss": 0.5}
    metadata = ran.metadata("one")
    assert metadata["slurm/fetched/metrics.json"] == {"loss": 0.5}
    assert metadata["slurm/fetched/plot 1.png"].startswith("![plot 1.png](data:image/png;base64,iVBORw0K")
    assert "| Wien | 5 |" in metadata["slurm/fetched/table.csv"]
    assert any("Fetched 3 files" in line for line in ran.logged("info"))


def test_without_a_data_base_it_is_the_working_directory(bench: Bench, tmp_path: Path) -> None:
    plain = ComputeResource(mode="local", local_base=str(tmp_path / "base2"))
    other = Bench(bench.instance, plain, bench.payloads)
    seen: dict[str, Any] = {}
    ran = other.materialize(asset_that_fetches(["bash", "-c", "echo 5 >out.txt"], seen, fetch=["*.txt"]))
    assert ran.success
    assert seen["out.txt"].read_text() == "5\n"


def test_too_much_fails_the_step_and_a_retry_fetches_alone(bench: Bench, tmp_path: Path) -> None:
    payload = bench.payloads.pipes(WRITE + f"open({str(tmp_path / 'ran')!r}, 'a').write('x')")
    small = ComputeResource(**{**fields(bench.compute), "fetch_limit": 1_000_000})

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=1))
    def one(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        names = ["metrics.json"] if context.op_execution_context.retry_number else ["huge.bin"]
        return compute.run(context=context, payload_path=payload, fetch=names)

    ran = Bench(bench.instance, small, bench.payloads).materialize(one)
    assert ran.success
    (again,) = [event for event in ran.result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    assert "huge.bin (2.0 MB)" in str(again.event_specific_data)
    assert ran.metadata("one")["slurm/fetched/metrics.json"] == {"loss": 0.5}
    assert (tmp_path / "ran").read_text() == "x"


def fields(compute: ComputeResource) -> dict[str, Any]:
    return {name: getattr(compute, name) for name in ("mode", "local_base", "data_base")}


def test_metadata_of_an_asset_names_what_to_fetch(bench: Bench) -> None:
    payload = bench.payloads.pipes(WRITE)

    @dg.asset(metadata={"slurm_fetch": ["metrics.json"]})
    def one(context: dg.AssetExecutionContext, compute: ComputeResource) -> Any:
        return compute.run(context=context, payload_path=payload)

    ran = bench.materialize(one)
    assert ran.success
    assert ran.metadata("one")["slurm/fetched/metrics.json"] == {"loss": 0.5}


@BOTH
def test_each_asset_and_component_has_its_own(any_bench: Bench) -> None:
    write = 'open(os.environ["DAGSTER_SLURM_OUTPUT_DIR"] + "/m.json", "w").write(\'{{"a": {}}}\')'
    components = [
        HetJobComponent(
            component_id=name, payload_path=any_bench.payloads.pipes(write.format(number)), fetch=["m.json"]
        )
        for number, name in enumerate(("one", "two"))
    ]
    seen: dict[str, Any] = {}

    @dg.multi_asset(specs=[dg.AssetSpec("one"), dg.AssetSpec("two")])
    def both(context: dg.AssetExecutionContext, compute: ComputeResource):
        completed = compute.run_heterogeneous(context=context, components=components)
        seen.update(completed.fetched)
        return completed

    ran: Ran = any_bench.materialize(both)
    assert ran.success, ran.logged()
    assert sorted(seen) == ["one/m.json", "two/m.json"]
    assert seen["two/m.json"].read_text() == '{"a": 1}'
    assert ran.metadata("one")["slurm/fetched/m.json"] == {"a": 0}
    assert ran.metadata("two")["slurm/fetched/m.json"] == {"a": 1}


def test_a_pattern_that_cannot_be_is_refused_before_anything_runs(bench: Bench) -> None:
    assert "leads out of the output folder" in bench.refused(fetch=["../x"]).text


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("a.json", b"{", None),
        ("a.json", b"5", None),
        ("a.csv", b"\xff\xfe\x00", None),
        ("a.csv", b"", None),
        ("a.csv", b"a|b,c\n1\n", "| a\\|b | c |\n| --- | --- |\n| 1 |  |"),
        ("a.tsv", b"a\tb\n" + b"1\t2\n" * 60, "\n\n10 more rows"),
        ("a.md", b"# x", "# x"),
        ("a.png", b"x" * 500_000, None),
        ("a.bin", b"x", None),
    ],
)
def test_what_is_shown_of_a_file(name: str, content: bytes, shown: str | None, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    value = value_of(path)
    assert (value is None) == (shown is None)
    if shown is not None:
        assert shown in str(getattr(value, "md_str", ""))
