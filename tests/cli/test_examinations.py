"""Each trap of an installation, simulated."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
import types
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import torch

from kdbench.attacks.libraries import installation
from kdbench.cli import examinations, self_test
from kdbench.cli.doctor import isolated
from kdbench.cli.examinations import Diagnosis
from kdbench.data import DataPlace, DatasetSpec
from kdbench.errors import KdbenchError
from kdbench.plugin.loader import load_plugins
from kdbench.plugin.registry import Registry
from kdbench.testing import pretend_accelerator


class FakeDistribution:
    """As much of a distribution as the doctor reads."""

    def __init__(
        self, version: str, requires: list[str] | None = None, python: str = ">=3.11", extras: tuple[str, ...] = ()
    ) -> None:
        self.version, self.requires, self.metadata = version, requires, Message()
        self.metadata["Requires-Python"] = python
        for extra in extras:
            self.metadata["Provides-Extra"] = extra


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeDistribution]:
    """The only distributions that importlib.metadata sees."""
    table = {
        "kdbench": FakeDistribution(
            "0.1",
            [
                "torch>=2.11",
                "rich>=13.9",
                "ray>=2; extra == 'far'",
                "dask; extra == 'far'",
                "ray>=2; extra == 'all'",
                "dask; extra == 'all'",
                "uvloop; extra == 'all' and sys_platform == 'nowhere'",
                "flax; extra == 'all'",
            ],
            extras=("all", "far"),
        ),
        "torch": FakeDistribution("2.15.0"),
        "rich": FakeDistribution("15.0.0"),
        "torchvision": FakeDistribution("0.30", ["numpy", "torch==2.15.0"]),
        "torchattacks": FakeDistribution("3.5.1", ["requests~=2.25.1"]),
        "requests": FakeDistribution("2.25.1"),
    }

    def distribution(name: str) -> FakeDistribution:
        if name not in table:
            raise importlib.metadata.PackageNotFoundError(name)
        return table[name]

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: distribution(name).version)
    return table


def by_name(checks: Any) -> dict[str, Diagnosis]:
    return {check.name: check for check in checks}


def dependencies() -> dict[str, Diagnosis]:
    return by_name(isolated("dependencies", examinations.dependencies))


def test_everything_in_place(installed: dict[str, FakeDistribution]) -> None:
    checks = dependencies()
    assert set(checks) == {
        "torch",
        "rich",
        "torchvision with torch",
        "torchattacks with requests",
    }  # ray, dask and flax are extras
    assert {check.status for check in checks.values()} == {"ok"}
    assert all(check.fix == "" for check in checks.values())


def test_a_missing_dependency(installed: dict[str, FakeDistribution]) -> None:
    del installed["rich"]
    hint = "`pip install 'rich>=13.9'`"
    assert dependencies()["rich"] == Diagnosis("rich", "broken", "not installed", ">=13.9", hint)


def test_an_old_dependency(installed: dict[str, FakeDistribution]) -> None:
    installed["rich"].version = "12.0"
    check = dependencies()["rich"]
    assert (check.status, check.found, check.fix) == ("broken", "12.0", "`pip install 'rich>=13.9'`")


@pytest.mark.parametrize(("version", "status"), [("2.15.0+cu132", "ok"), ("2.16.0", "broken"), ("2.14.1", "broken")])
def test_torch_must_be_the_one_torchvision_was_made_for(
    installed: dict[str, FakeDistribution], version: str, status: str
) -> None:
    installed["torch"].version = version
    check = dependencies()["torchvision with torch"]
    assert check.status == status
    assert ("torch torchvision" in check.fix) == (status == "broken")


def test_a_violated_pin_of_torchattacks_is_only_a_warning(installed: dict[str, FakeDistribution]) -> None:
    installed["requests"].version = "2.32.0"
    check = dependencies()["torchattacks with requests"]
    assert (check.status, check.found, check.expected) == ("warn", "2.32.0", "~=2.25.1")
    assert "pip install 'requests~=2.25.1'" in check.fix


def test_a_missing_owner_of_a_pin_is_no_end(installed: dict[str, FakeDistribution]) -> None:
    del installed["torchvision"]
    checks = dependencies()
    assert "torchvision with torch" not in checks
    assert checks["torchattacks with requests"].status == "ok"


def extras() -> dict[str, Diagnosis]:
    return by_name(isolated("extras", examinations.extras))


def test_an_extra_that_is_not_installed_is_named_and_nothing_is_wrong(installed: dict[str, FakeDistribution]) -> None:
    installed["dask"] = FakeDistribution("2026.1")
    absent = "not installed; `pip install 'kdbench[far]'` brings it"
    assert extras() == {
        "kdbench[far]: ray": Diagnosis("kdbench[far]: ray", "ok", absent, ">=2"),
        "kdbench[far]: dask": Diagnosis("kdbench[far]: dask", "ok", "2026.1", "any version"),
        "kdbench[all]: flax": Diagnosis("kdbench[all]: flax", "ok", absent.replace("far", "all"), "any version"),
    }


def test_an_extra_that_is_too_old_is_only_a_warning(installed: dict[str, FakeDistribution]) -> None:
    installed["ray"] = FakeDistribution("1.9")
    check = extras()["kdbench[far]: ray"]
    assert (check.status, check.found, check.fix) == ("warn", "1.9", "`pip install 'kdbench[far]'`")


@pytest.mark.parametrize("name", ["torchattacks", "robustbench"])
def test_the_module_of_an_absent_extra_is_not_examined(name: str, installed: dict[str, FakeDistribution]) -> None:
    installed.pop(name, None)
    assert isolated(name, getattr(examinations, name)) == []


def test_kdbench_itself_not_installed(installed: dict[str, FakeDistribution]) -> None:
    del installed["kdbench"]
    check = dependencies()["dependencies"]
    assert check.status == "broken"
    assert "'kdbench' is not installed" in check.found
    assert "pip install" in check.fix


def test_an_old_python(installed: dict[str, FakeDistribution]) -> None:
    installed["kdbench"].metadata.replace_header("Requires-Python", ">=99")
    check = by_name(examinations.python())["python"]
    assert (check.status, check.expected) == ("broken", ">=99")


def test_torchvision_operators_that_do_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("torchvision")
    fake.__version__ = "0.1+cu999"
    fake.ops = types.SimpleNamespace(nms=lambda *_: (_ for _ in ()).throw(RuntimeError("operator nms does not exist")))
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    check = by_name(examinations.torchvision())["torchvision operators"]
    assert check.status == "broken"
    assert "nms does not exist" in check.found
    assert "pip install --force-reinstall torch torchvision" in check.fix


@pytest.mark.parametrize(("builds", "status"), [(("+cu132", "+cu132"), "ok"), (("+cu132", "+cpu"), "warn")])
def test_torchvision_of_another_build(monkeypatch: pytest.MonkeyPatch, builds: tuple[str, str], status: str) -> None:
    fake = types.ModuleType("torchvision")
    fake.__version__ = "0.30" + builds[0]
    fake.ops = types.SimpleNamespace(nms=lambda *_: torch.tensor([0, 2]))
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    monkeypatch.setattr(torch, "__version__", "2.15.0" + builds[1])
    assert by_name(examinations.torchvision())["torchvision operators"].status == status


def test_a_gpu_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert by_name(examinations.device())["device"].status == "warn"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert by_name(examinations.device())["device"].status == "ok"


def test_an_accelerator_is_named_with_its_memory_and_computes_what_the_cpu_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pretend_accelerator() as device:
        found = by_name(examinations.device())
        assert found["device accel:0"].found == "pretend accelerator, memory unknown"
        assert found["device"].found.startswith("accel:0 by --device auto, beside CPU")
        monkeypatch.setattr("kdbench.devices.memory", lambda device: (3 * 2**30, 8 * 2**30))
        assert by_name(examinations.device())["device accel:0"].found == "pretend accelerator, 8.0 GiB, 3.0 free"
        agreement = by_name(examinations.agreement())[f"agreement of {device}"]
        assert agreement.status == "ok"
        assert re.search(r"PGD leaves (\d+) of 64 images on it and \1 on the CPU .0 differ., 0.00%", agreement.found)


def test_a_device_that_computes_otherwise_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    for differing in ({"logits": 1e-3}, {"attacked": 4}, {"bytes": 0.011}):
        found = self_test.Agreement(**{"logits": 0.0, "robust": (9, 9), "attacked": 0, "bytes": 0.0, **differing})
        monkeypatch.setattr(self_test, "compare", lambda device, found=found: found)
        with pretend_accelerator():
            (check,) = examinations.agreement()
        assert check.status == "broken"
        assert "use --device cpu" in check.fix
    (alone,) = examinations.agreement()
    assert (alone.status, alone.found) == ("ok", "no accelerator to compare with the CPU")


def test_bfloat16_is_reported_as_the_precision_rule_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (True, False):
        monkeypatch.setattr("kdbench.devices.computes_bfloat16", lambda device, native=native: native)
        assert ("native" in by_name(examinations.bfloat16())["bfloat16"].found) == native


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 10**6)
    check = by_name(examinations.threads())["threads"]
    assert check.status == "warn"
    assert "OMP_NUM_THREADS" in check.fix


def test_overwritten_robustbench(monkeypatch: pytest.MonkeyPatch) -> None:
    files = installation.RobustbenchFiles("1.1.1", ("a.py", "b.py"), ("a.py",))
    monkeypatch.setattr(installation, "robustbench_files", lambda: files)
    check = by_name(examinations.robustbench())["robustbench module"]
    assert check.status == "broken"
    assert check.found == "2 of its files replaced, 1 of them by torchattacks' old copy"
    assert check.fix == "`pip install --force-reinstall --no-deps robustbench==1.1.1`"


@pytest.mark.parametrize("name", ["torchattacks", "autoattack", "robustbench"])
def test_a_third_party_that_cannot_be_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise KdbenchError(f"{name} can't be imported", "the command")

    monkeypatch.setattr(installation, name, refuse)
    monkeypatch.setattr(installation, "robustbench_files", lambda: installation.RobustbenchFiles("1.1.1", (), ()))
    (check,) = isolated(name, getattr(examinations, name))
    assert (check.status, check.found, check.fix) == ("broken", f"{name} can't be imported", "the command")


def test_cache_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = DataPlace.default(tmp_path, cache_dir=tmp_path / "not" / "yet" / "there")
    checks = by_name(examinations.cache(place))
    assert checks["cache"].status == "ok"
    assert list(tmp_path.iterdir()) == []  # looking leaves nothing behind
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2**30))
    disk = by_name(examinations.cache(place))["disk"]
    assert (disk.status, disk.found) == ("warn", "1.0 GiB free")


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(examinations.tempfile, "TemporaryFile", refuse)
    check = by_name(examinations.cache(DataPlace.default(cache_dir=tmp_path)))["cache"]
    assert check.status == "broken"
    assert "Permission denied" in check.found
    assert "KDBENCH_CACHE_DIR" in check.fix


def test_a_file_in_the_way_of_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = by_name(examinations.cache(DataPlace.default(cache_dir=tmp_path / "file")))["cache"]
    assert check.status == "broken"


def test_plugins_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = types.SimpleNamespace(plugin="bad", origin="bad-plugin 0.1", error="ImportError: no")
    loaded = types.SimpleNamespace(failures=[failure], loaded={"builtin": "kdbench 0.1"})
    monkeypatch.setattr("kdbench.plugin.loader.load_plugins", lambda: loaded)
    checks = by_name(examinations.plugins())
    assert checks["plugin bad"].status == "broken"
    assert checks["plugin bad"].found == "bad-plugin 0.1: ImportError: no"
    assert checks["plugins"].status == "ok"
    loaded.loaded = {}
    assert by_name(examinations.plugins())["plugins"].status == "broken"


def test_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spec(name: str, fetch: Any = None, **changes: Any) -> DatasetSpec:
        return DatasetSpec(name, ("cat", "dog"), 8, lambda place: 1 / 0, fetch, **changes)  # type: ignore[arg-type, return-value]

    def there(place: DataPlace) -> bool:
        return place.data_dir == tmp_path

    registry: Registry[DatasetSpec] = Registry("dataset")
    for one in (
        spec("here", available=there, count=lambda place: (5, 4), test_images=4),
        spec("away", fetch=print, available=lambda place: False),
        spec("never", available=lambda place: False),
        spec("partly", available=there, count=lambda place: (5, 4), test_images=6),
        spec("faulty"),
    ):
        registry.add(one.name, one, "test")
    plugins = types.SimpleNamespace(datasets=registry, label_noises=load_plugins().label_noises)
    monkeypatch.setattr("kdbench.plugin.loader.load_plugins", lambda: plugins)
    monkeypatch.setenv("KDBENCH_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "CIFAR-10-C").mkdir()
    (tmp_path / "CIFAR-10_human.pt").write_bytes(b"{}")
    checks = by_name(examinations.datasets(tmp_path))
    assert (checks["dataset here"].status, checks["dataset here"].found) == ("ok", "5 training, 4 test images")
    assert (checks["dataset away"].status, checks["dataset away"].fix) == ("warn", "`kdbench data fetch away`")
    assert "KDBENCH_DATA_DIR" in checks["dataset never"].fix
    assert checks["dataset partly"].status == "broken"
    assert "found 4 test images, expected 6" in checks["dataset partly"].found
    assert (checks["dataset faulty"].status, checks["dataset faulty"].found[:18]) == ("broken", "ZeroDivisionError:")
    assert (checks["corruptions CIFAR-10-C"].status, checks["corruptions CIFAR-100-C"].status) == ("broken", "ok")
    assert (checks["labels cifar10n-worse"].status, checks["labels cifar100n-fine"].status) == ("broken", "warn")
