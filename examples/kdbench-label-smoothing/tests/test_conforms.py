from kdbench_label_smoothing import label_smoothing

from kdbench.testing import check_method


def test_label_smoothing_conforms() -> None:
    check_method(label_smoothing)
