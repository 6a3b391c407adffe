"""Published numbers in the reproductions against the papers' tables, written down a second time as they are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from kdbench.plugin.loader import load_plugins
from kdbench.reproducing import read_reproduction
from kdbench.reproducing.reproduction import Reproduction

ITEMS = [name for name in load_plugins().reproductions if name.partition("/")[0] in ("arani", "katz", "nrd", "smkd")]
ARANI = {"headline", *(f"fig{n}" for n in (1, 2, *range(4, 19)))}
OTHERS = {
    "nrd": [*(f"table{n}" for n in range(1, 7)), "fig1", "fig2", "fig4", "fig5"],
    "katz": [*(f"table{n}" for n in (1, 2, 3)), *(f"fig{n}" for n in range(1, 7))],
    "smkd": [*(f"table{n}" for n in range(1, 6)), "fig2", "fig3", "fig4"],
}

Numbers = dict[tuple[str, str], float]


def item(name: str) -> Reproduction:
    return read_reproduction(load_plugins().reproductions.get(name))


def published(name: str) -> Numbers:
    """Row and column to number; points of a curve have their place behind the column."""
    found: Numbers = {}
    for cell in item(name).cells:
        if cell.published is not None:
            found[cell.row, cell.column] = cell.published
        found |= {(cell.row, f"{cell.column} {place}"): value for place, value in cell.curve.items()}
    return found


def printed(text: str, columns: Iterable[str], names: Mapping[str, str] | None = None) -> Numbers:
    """A table as it is printed: a row's name, then its numbers; bars between groups of columns are only for the eye."""
    found: Numbers = {}
    for line in text.strip().splitlines():
        words = line.replace("|", " ").split()
        row = (names or {}).get(words[0], words[0])
        numbers = [float(word) for word in words[1:]]
        found |= {(row, column): number for column, number in zip(columns, numbers, strict=True)}
    return found


def test_every_table_and_figure_with_numbers_is_there() -> None:
    expected = {f"arani/{name}" for name in ARANI} | {
        f"{paper}/{name}" for paper, names in OTHERS.items() for name in names
    }
    assert set(ITEMS) == expected


@pytest.mark.parametrize("name", ITEMS)
def test_a_scale_that_is_not_there_is_explained(name: str) -> None:
    """Nobody has to guess; full and smoke are never left out."""
    found = item(name)
    assert {"full", "smoke"} <= set(found.scales)
    if "lite" not in found.scales:
        assert any("lite" in sentence for sentence in found.known)


# Arani et al. 2021

TEXT = {("kd", "clean"): 94.28, ("kd", "PGD-20"): 0.15}
SOFT = {"clean": 92.57, "PGD-20": 16.75}
GAUSSIAN = {"clean": 92.14, "PGD-20": 0.41}
FAMILIES = {"soft-randomization": SOFT, "gaussian-augmentation": GAUSSIAN}


def test_the_text_of_arani() -> None:
    rows = {
        "fickle teacher .4": {"clean": 94.67}, "soft randomization .05": SOFT, "Gaussian augmentation .05": GAUSSIAN,
        "messy collaboration": {"clean": 93.96, "PGD-20": 11.41},
    }  # fmt: skip
    expected = {(row, column): value for row, values in rows.items() for column, value in values.items()}
    assert published("arani/headline") == TEXT | expected
    tolerances = {(cell.row, cell.column): cell.tolerance for cell in item("arani/headline").cells if cell.published}
    for (_, column), tolerance in tolerances.items():
        assert column != "clean" or tolerance == 0.3
    near_zero = {place for place, value in published("arani/headline").items() if value < 1}
    assert {place: tolerances[place] for place in near_zero} == dict.fromkeys(near_zero, 0.5)
    above_ten = {place for place, value in published("arani/headline").items() if 10 < value < 20}
    assert {place: tolerances[place] for place in above_ten} == dict.fromkeys(above_ten, 3.0)


@pytest.mark.parametrize("number", [4, 15])
def test_the_numbers_of_soft_randomization_stand_at_sigma_05(number: int) -> None:
    found = published(f"arani/fig{number}")
    names = {row.lower().replace(" ", "-").removesuffix("-0.05"): row for row, _ in found if row != "kd"}
    assert set(names) == set(FAMILIES)
    expected = {(names[family], column): value for family, own in FAMILIES.items() for column, value in own.items()}
    assert found == TEXT | expected


def test_figures_without_numbers_have_none_but_those_of_the_text() -> None:
    for number in (2, 5, 8, 9, 12, 14, 16, 18):
        assert published(f"arani/fig{number}") == {}
    assert published("arani/fig1") == TEXT | {("fickle teacher 0.4", "clean"): 94.67}
    assert published("arani/fig6") == {("kd", "clean"): 94.28}
    for number in (11, 13, 17):
        assert published(f"arani/fig{number}") == TEXT


def test_arani_fig_10() -> None:
    table = """
    Teacher  92.61 89.37 86.56 78.94 55.53 || 66.22 62.66 59.07 53.63 36.75
    WRN-16-2 90.51 86.91 83.51 76.07 56.61 || 63.22 59.50 55.00 50.08 37.21
    r=0      92.56 90.71 89.38 85.32 67.97 || 65.62 63.86 61.33 56.68 44.42
    r=.05    92.57 90.88 89.36 85.36 68.75 || 65.52 63.69 61.28 56.49 45.15
    r=.1     92.53 90.73 89.33 85.13 68.25 || 65.97 63.57 61.68 56.21 44.92
    r=.15    92.52 90.95 89.54 85.16 68.27 || 65.74 63.73 61.34 56.65 44.78
    r=.25    92.60 90.97 89.44 84.98 68.05 || 65.92 63.45 61.52 56.60 45.02
    r=.5     92.62 90.96 89.47 85.45 68.54 || 65.28 63.62 61.19 56.35 44.68
    """
    rates = ("5 %", "10 %", "15 %", "25 %", "50 %")
    columns = [f"{data} {rate}" for data in ("CIFAR-10", "CINIC") for rate in rates]
    assert published("arani/fig10") == printed(table, columns)


# Shon et al. 2024


def test_nrd_table_1_and_its_identity() -> None:
    table = """
    .2,image 99.99 .01 81.93
    .2,views 96.01 54.72 88.55
    .5,image 99.97 .07 55.11
    .5,views 93.09 40.58 69.51
    .8,image 99.83 .06 28.10
    .8,views 77.29 14.82 32.38
    """
    names = {f"{r},{what}": f"r {r}, {what}" for r in (".2", ".5", ".8") for what in ("image", "views")}
    found = published("nrd/table1")
    assert found == printed(table, ("clean-labelled", "mislabelled", "overall"), names)
    for rate in (0.2, 0.5, 0.8):
        wrong, row = 0.9 * rate, f"r {rate}".replace("0.", ".")  # an inclusive draw keeps one label in ten
        for what in ("image", "views"):
            clean, mislabelled, overall = (
                found[f"{row}, {what}", column] for column in ("clean-labelled", "mislabelled", "overall")
            )
            assert wrong * mislabelled + (1 - wrong) * clean == pytest.approx(overall, abs=0.3)


def test_nrd_table_2() -> None:
    table = """
    CE       91.63 87.74 81.99 66.51 | 92.77 87.12 || 65.74 55.77 44.42 10.74 | 66.85 49.45
    BS       91.68 89.23 82.65 16.97 | 93.06 88.87 || 72.92 68.52 53.80 13.83 | 73.79 64.67
    LS       93.51 89.90 83.96 67.35 | 92.94 88.10 || 74.88 68.41 54.58 26.98 | 73.17 57.20
    SCE      94.29 92.72 89.26 80.68 | 93.48 84.98 || 74.21 68.23 59.28 26.80 | 70.86 51.12
    GCE      94.24 92.82 89.37 79.19 | 92.83 87.00 || 75.02 71.54 65.21 49.68 | 72.13 51.50
    NCE+RCE  94.27 92.03 87.30 77.89 | 93.87 86.83 || 72.39 68.79 62.18 31.63 | 71.35 57.80
    JS       94.52 93.01 89.64 76.06 | 92.18 87.99 || 75.41 71.12 64.36 45.05 | 71.70 49.36
    GJS      95.33 93.57 91.64 79.11 | 93.94 89.65 || 78.05 75.71 70.15 44.49 | 74.60 63.70
    NRD      95.43 94.65 92.45 85.32 | 93.90 91.25 || 78.54 76.29 72.43 60.01 | 76.07 61.40
    """
    noises = ("sym 20 %", "sym 40 %", "sym 60 %", "sym 80 %", "asym 20 %", "asym 40 %")
    assert published("nrd/table2") == printed(
        table, [f"{data} {noise}" for data in ("C10", "C100") for noise in noises]
    )


def test_nrd_table_3() -> None:
    table = """
    ELR+,IRv2      77.78 91.68 70.29 89.76
    DivideMix,IRv2 77.32 91.64 75.20 90.84
    DivideMix,RN50 76.32 90.65 74.42 91.21
    CE             70.69 88.64 67.32 88.00
    JS             74.56 91.09 70.36 90.60
    GJS            77.99 90.62 74.33 90.33
    NRD            78.56 92.48 75.24 92.36
    """
    names = {f"{name},{net}": f"{name} ({net})" for name in ("ELR+", "DivideMix") for net in ("IRv2", "RN50")}
    columns = [f"{data} top {k}" for data in ("WebVision", "ImageNet") for k in (1, 5)]
    assert published("nrd/table3") == printed(table, columns, names)


def test_nrd_table_4_and_figures() -> None:
    table = """
    CE  94.35 77.60
    GCE 94.00 77.65
    GJS 94.78 79.27
    NRD 95.05 79.61
    """
    assert published("nrd/table4") == printed(table, ("CIFAR-10", "CIFAR-100"))
    assert published("nrd/fig1") == {("views", "AUROC"): 0.9935}
    assert published("nrd/fig2") == {("image", "ECE"): 0.34, ("views", "ECE"): 0.13}
    assert published("nrd/fig5") == printed("CE .08 .31 .63\nNRD .09 .13 .13", (".2", ".5", ".8"))
    for name in ("table5", "table6", "fig4"):
        assert published(f"nrd/{name}") == {}


# Katz & Reches 2022


def test_katz_tables_1_and_2() -> None:
    rows = {what: f"teacher, {what}" for what in ("votes", "soft")}
    teacher = printed("votes 88.68 63.67\nsoft 88.53 63.48", ("clean", "PGD-10"), rows)
    clean = {"votes": 91.21, "soft": 91.22}
    clean_students = {
        (f"{who}, {what}", "clean"): value for who in ("KD", "as published") for what, value in clean.items()
    }
    assert published("katz/table1") == teacher | clean_students
    students = {"votes": {"clean": 79.9, "PGD-10": 46.0}, "soft": {"clean": 82.13, "PGD-10": 45.83}}
    both = {
        (f"{who}, {what}", column): value
        for who in ("KD", "as published") for what, own in students.items() for column, value in own.items()
    }  # fmt: skip
    assert published("katz/table2") == teacher | both


@pytest.mark.parametrize("name", [f"katz/{name}" for name in OTHERS["katz"]])
def test_no_student_of_katz_is_a_target(name: str) -> None:
    for cell in item(name).cells:
        if (cell.published is not None or cell.curve) and not cell.row.startswith("teacher"):
            of_teacher = cell.column != "on KD student" and cell.row in ("unattacked", "of CNI", "of Smoothed CNI")
            assert cell.incomparable or of_teacher, (cell.row, cell.column)


def test_katz_table_3_and_logged_facts() -> None:
    table = """
    unattacked     88.7  42.7  79.92
    of,CNI         63.67 42.62 69.3
    of,SmoothedCNI 88.82 36.58 77.97
    of,KDstudent   63.4  32.95 46.06
    """
    names = {"of,CNI": "of CNI", "of,SmoothedCNI": "of Smoothed CNI", "of,KDstudent": "of KD student"}
    assert published("katz/table3") == printed(table, ("on CNI", "on Smoothed CNI", "on KD student"), names)
    row = "as published, soft"
    assert published("katz/fig3") == {(row, "clean 59"): 82.1, (row, "PGD-10 59"): 45.8, (row, "PGD-10 100"): 41.9}
    for number in (1, 2, 4, 5, 6):
        assert published(f"katz/fig{number}") == {}


# Li et al. 2023


def test_smkd_tables_1_and_2() -> None:
    table = """
    Zero   51.53 51.09 64.07 65.04
    All    53.63 53.18 59.26 61.11
    SMKD-S 55.10 53.86 67.26 68.45
    SMKD-P 56.73 56.47 68.29 69.09
    """
    assert published("smkd/table1") == printed(table, ("LS", "CP", "ProSelfLC", "MyLC"))
    table = """
    CE          63.52 45.40 | 63.31 47.20 | 75.58
    LS          65.15 50.02 | 67.45 51.53 | 76.33
    CP          64.97 49.01 | 65.97 51.09 | 75.29
    Boot-soft   64.04 48.85 | 63.25 48.41 | 75.37
    ProSelfLC   74.13 69.49 | 71.49 64.07 | 75.73
    MyLC        73.12 62.29 | 71.04 65.04 | 75.20
    S+ProSelfLC 75.68 74.22 | 72.11 67.26 | 76.25
    P+ProSelfLC 75.76 74.55 | 72.58 68.29 | 77.32
    S+MyLC      75.39 74.32 | 72.20 68.45 | 75.92
    P+MyLC      75.89 74.72 | 73.22 69.09 | 76.42
    """
    assert published("smkd/table2") == printed(table, ("pair 20 %", "pair 40 %", "sym 20 %", "sym 40 %", "clean"))


def test_smkd_table_3() -> None:
    table = """
    CE 64.10 52.77 63.93 56.82 84.03 57.34
    GCE 62.32 55.03 65.62 57.97 84.96 55.62
    Co-teaching 58.11 48.46 61.47 53.44 83.73 61.22
    Co-teaching+ 56.31 38.03 64.13 55.92 76.89 33.26
    Joint 67.35 52.22 54.88 45.64 83.10 47.60
    Forward 58.37 39.82 66.12 59.45 85.52 56.33
    MentorNet 54.73 45.31 57.27 49.01 81.25 57.66
    T-revision 62.69 52.31 64.67 57.15 85.97 60.58
    DMI 58.77 42.89 62.77 57.42 85.52 56.93
    S2E 58.21 41.74 64.21 43.12 84.97 54.33
    APL 59.77 53.25 59.37 51.03 82.17 61.27
    CDR 71.93 56.94 68.68 62.72 86.36 61.85
    ProSelfLC 73.11 69.49 71.17 60.38 86.97 62.40
    P+ProSelfLC 75.16 73.36 73.25 64.09 87.54 67.40
    MyLC 72.25 70.84 69.92 62.80 86.70 64.44
    P+MyLC 74.38 73.86 72.23 64.30 87.60 67.48
    """
    columns = ("pair 20 %", "pair 40 %", "sym 20 %", "sym 40 %", "Food-101", "mini-WebVision")
    assert published("smkd/table3") == printed(table, columns)


def test_smkd_tables_4_and_5_and_figures() -> None:
    table = """
    CE        50.63 44.06 47.20
    Tf-KDreg  51.05 44.70 47.39
    ProSelfLC 58.51 58.89 64.07
    MyLC      55.94 61.21 65.04
    MKD       60.38 47.72 51.42
    KDCL      55.45 46.10 51.20
    SMKD+MyLC 68.10 64.37 69.09
    """
    assert published("smkd/table4") == printed(table, ("ResNet-18", "ShuffleNetV2", "ResNet-34"))
    table = """
    1 70.37 59.26 36.18 16.17
    2 72.11 65.04 46.15 18.62
    3 72.83 66.42 51.34 19.84
    4 73.25 67.26 54.34 22.45
    """
    columns = [f"sym {rate} %" for rate in (20, 40, 60, 80)]
    assert published("smkd/table5") == printed(table, columns, {str(eta): f"eta {eta}" for eta in range(1, 5)})
    for number in (2, 3, 4):
        assert published(f"smkd/fig{number}") == {}
