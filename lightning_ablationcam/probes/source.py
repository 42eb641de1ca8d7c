"""Where a monitor's probes come from: given, built at fit start, or kept from validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, Literal

import numpy as np

from lightning_ablationcam.arguments import check_choice, check_count, check_names, shown
from lightning_ablationcam.network.isolation import kept_random_state
from lightning_ablationcam.probes.capture import ProbeCapture
from lightning_ablationcam.probes.given import channel_statistics, has_named_tuple
from lightning_ablationcam.probes.labels import kind_of
from lightning_ablationcam.probes.probe_set import ProbeSet

# The number first: LightningCLI, which saves what it was given, tries kinds in this order.
Probes = int | ProbeSet | Callable[[Any, Any], ProbeSet]
ExplainedClasses = Literal["label", "predicted"] | int | Sequence[int]


class ProbeSource:
    """Provides the one set of probes that a run watches.

    Args:
        wanted: A ProbeSet, a callable ``(trainer, module) -> ProbeSet``, or how many images to keep
            from validation batches.
        classes: Which classes are explained; ``"label"`` needs probes with labels.
        mean: As in :class:`ProbeSet`, for images kept from validation.
        std: Likewise.
        class_names: Likewise.
        needs_labels: Whether labels are explained beside other classes.
        has_labels: Whether what the network does has labels at all; where it has none,
            ``classes="label"`` means whatever there is to explain.

    Attributes:
        probes: The set, once it is known.
        has_labels: As given; a network may turn out to have none.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        wanted: Probes,
        classes: ExplainedClasses,
        *,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        needs_labels: bool = False,
        has_labels: bool = True,
    ) -> None:
        _check_classes(classes)
        _check_wanted(wanted, {"mean": mean, "std": std, "class_names": class_names})
        self.probes: ProbeSet | None = None
        self._wanted = wanted
        self._classes = classes
        self._needs_labels = needs_labels
        self.has_labels = has_labels
        self._display: dict[str, Any] = {
            "mean": channel_statistics("mean", mean),
            "std": channel_statistics("std", std),
            "class_names": class_names,
        }
        self._capture = self._new_capture()
        if isinstance(wanted, ProbeSet):
            self.settle(wanted)

    @property
    def is_capturing(self) -> bool:
        """Whether probes are still being collected from validation batches."""
        return self._capture is not None

    def build(self, trainer: Any, module: Any) -> None:
        """Build the probes, if they come from a callable.

        Raises:
            TypeError: If the callable returns no ProbeSet.
            ValueError: If the probes do not fit ``classes``.
        """
        if isinstance(self._wanted, (ProbeSet, int)):
            return
        with kept_random_state():
            built = self._wanted(trainer, module)
        if not isinstance(built, ProbeSet):
            raise TypeError(
                f"the probes callable returned a {type(built).__name__}; expected a ProbeSet"
            )
        self.settle(built)

    def anew(self) -> ProbeSource:
        """A source for the same request, without the probes found so far; a given set stays."""
        other = copy(self)
        if not isinstance(self._wanted, ProbeSet):
            other.probes = None
            other._capture = other._new_capture()
        return other

    @property
    def wanted(self) -> Probes:
        """What was asked for."""
        return self._wanted

    @property
    def notes(self) -> list[str]:
        """What the user should know of probes that are kept from validation."""
        return [] if self._capture is None else self._capture.notes

    def _new_capture(self) -> ProbeCapture | None:
        if not isinstance(self._wanted, int):
            return None
        by_label = isinstance(self._classes, str) and self._classes == "label"
        needs = self._needs_labels or (by_label and self.has_labels)
        return ProbeCapture(self._wanted, labelled=needs)

    def offer(self, batch: Any) -> None:
        """Look for probes in a validation batch."""
        if self._capture is not None:
            self._capture.offer(batch)

    def settle(self, probes: ProbeSet) -> None:
        """Watch these probes from now on.

        Raises:
            ValueError: If they do not fit ``classes``.
        """
        self._check_fit(probes)
        self.probes, self._capture = probes, None

    def found(self) -> ProbeSet:
        """The probes; while they are not settled, those kept from validation so far.

        Raises:
            ValueError: If no image could be kept.
        """
        if self.probes is not None:
            return self.probes
        assert self._capture is not None
        if not len(self._capture):
            raise ValueError(
                f"probes={self._capture.wanted}: no image could be kept from validation: "
                f"{self._capture.problem}"
            )
        kind = self._capture.label_kind
        return ProbeSet.of_samples(self._capture.samples, label_kind=kind, **self._display)

    def state_dict(self) -> dict[str, Any]:
        """The probes' fingerprint, and the probes themselves if they were kept from validation."""
        if self.probes is None:
            return {"fingerprint": None, "kept": None}
        kept = None
        parts = (self.probes.inputs, self.probes.batch)
        # Of named tuples a checkpoint would hold the user's class, and could not be read safely.
        if isinstance(self._wanted, int) and not any(map(has_named_tuple, parts)):
            kept = {
                "wanted": self._wanted,
                "inputs": self.probes.inputs,
                "shown": self.probes.shown,
                "labels": self.probes.labels,
                "masks": self.probes.masks,
                "batch": self.probes.batch,
            }
        return {"fingerprint": self.probes.fingerprint, "kept": kept}

    def resume(self, state: Mapping[str, Any]) -> bool:
        """Go on with the probes of a checkpoint, if the user asked for the same.

        Call it after :meth:`build`.

        Args:
            state: What :meth:`state_dict` returned.

        Returns:
            Whether the probes are those of the checkpoint.
        """
        kept = state["kept"]
        if kept is not None and kept["wanted"] == self._wanted:
            try:
                probes = ProbeSet(
                    kept["inputs"],
                    labels=kept["labels"],
                    masks=kept["masks"],
                    shown=kept["shown"],
                    batch=kept["batch"],
                    label_kind=kind_of(kept["labels"]),
                    **self._display,
                )
                self._check_fit(probes)
            except (TypeError, ValueError):
                return False  # mean and std have other channels, or classes is "label" now.
            if probes.fingerprint == state["fingerprint"]:
                self.settle(probes)
        return self.probes is not None and self.probes.fingerprint == state["fingerprint"]

    def _check_fit(self, probes: ProbeSet) -> None:
        classes = self._classes
        if self._needs_labels and probes.label_kind not in ("class", "multi-hot"):
            raise ValueError(
                "also=('label', ...), but the probes have no labels that are classes; give "
                "ProbeSet labels, or leave 'label' out"
            )
        if classes == "label" and probes.labels is None and self.has_labels:
            raise ValueError(
                f"classes='label', but the probes have no labels{probes.unread}; give ProbeSet "
                "labels, or choose "
                "classes='predicted', an int, or one int for each probe; a network that returns "
                "embeddings takes embeddings='own'"
            )
        if isinstance(classes, Sequence) and not isinstance(classes, str):
            if len(classes) != len(probes):
                raise ValueError(
                    f"classes has {len(classes)} entries for {len(probes)} probes; expected one "
                    "int for each probe"
                )


def _check_classes(classes: object) -> None:
    if isinstance(classes, str):
        check_choice("classes", classes, ("label", "predicted"))
        return
    is_list = isinstance(classes, Sequence) and not isinstance(classes, (bytes, bytearray))
    indices: list[Any] = list(classes) if is_list else [classes]  # type: ignore[call-overload]
    expected = "expected 'label', 'predicted', an int or one int for each probe"
    if not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in indices):
        raise TypeError(f"classes={shown(classes)}; {expected}")
    if not indices or min(indices) < 0 or max(indices) >= 2**63:
        raise ValueError(f"classes={shown(classes)}; {expected}, from 0 to the number of classes")


def _check_wanted(wanted: object, display: dict[str, object]) -> None:
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        check_count("probes", wanted)
        if display["class_names"] is not None:
            check_names("class_names", display["class_names"])
        return
    if isinstance(wanted, type) or not (isinstance(wanted, ProbeSet) or callable(wanted)):
        raise TypeError(
            f"probes={shown(wanted)}; expected a ProbeSet, a callable "
            "(trainer, module) -> ProbeSet, or a number of images to keep from validation"
        )
    given = [name for name, value in display.items() if value is not None]
    if given:
        raise ValueError(
            f"{' and '.join(given)} can only be given with probes=<number>; otherwise give them to "
            "the ProbeSet"
        )
