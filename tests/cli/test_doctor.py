"""What the machine has."""

import json

from airust.cli import doctor


def test_json_holds_every_section(airust):
    done = airust("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.exit_code == (1 if found["missing"] else 0)
    assert found["host"]["cores_usable"] >= 1
    assert found["host"]["disk_free_bytes"] > 0
    assert found["versions"]["torch"]
    assert found["ceilings"]["matmul_fp32"] > 0
    assert "OMP_NUM_THREADS" in found["threads"]
    assert found["engines"]["dummy"]


def test_the_table_is_readable_and_measuring_can_be_left_out(airust):
    done = airust("doctor", "--no-ceilings")
    assert done.exit_code == 0, done.output
    for word in ("python", "memory available", "GB", "OMP_NUM_THREADS", "mistralrs"):
        assert word in done.stdout
    assert "GFLOP/s" not in done.stdout


def test_a_missing_package_is_named_with_the_remedy(airust, monkeypatch):
    monkeypatch.setattr(doctor, "_requirements", lambda: ["no-such-package>=1"])
    done = airust("doctor", "--no-ceilings")
    assert done.exit_code == 1
    assert "Missing: no-such-package. Install with: python scripts/install.py" in done.stdout
