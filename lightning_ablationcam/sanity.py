"""Whether a map follows the network's parameters: ``sanity_check``."""

from __future__ import annotations

import numbers
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_ablationcam.arguments import check_callable, check_count, shown
from lightning_ablationcam.cam import explain_classes, replay_notice
from lightning_ablationcam.engine.ending import Endings
from lightning_ablationcam.engine.recorder import Forward, run
from lightning_ablationcam.measures.heat import Heatmaps, as_tensor
from lightning_ablationcam.measures.likeness import rank_correlation, structural_similarity
from lightning_ablationcam.method.ablations import Ablation
from lightning_ablationcam.method.heads.meaning import AnyTask
from lightning_ablationcam.method.heads.vectors import Embeddings
from lightning_ablationcam.method.scores import Classes, Score
from lightning_ablationcam.method.wanted import Wanted
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.network.inputs import Inputs, copied, count_of, mapped, plain
from lightning_ablationcam.network.isolation import isolated, kept_random_state, warn
from lightning_ablationcam.network.layers import check_target_layer
from lightning_ablationcam.network.module_state import forget_unwritten
from lightning_ablationcam.network.randomised import (
    Course,
    Unit,
    course_of,
    estimated_statistics,
    randomise,
    replaceable,
)
from lightning_ablationcam.network.targets import find_target
from lightning_ablationcam.options import Engine, Options
from lightning_ablationcam.selection import evenly_chosen
from lightning_ablationcam.setting import meaning_of, wanted_of

Explain: TypeAlias = Callable[[nn.Module, Inputs, Tensor], Heatmaps]
"""``(model, inputs, classes) -> (N, ...)`` heatmaps."""

MAX_STAGES = 20
"""Stages in which a network is randomised by default, at most."""

STAYS_CORRELATION = 0.9
"""Rank correlation with the intact map from which on a map of a random network has stayed."""

STAYS_SIMILARITY = 0.9
"""Structural similarity from which on it has; a map stays only where it reaches both numbers.

With Ablation-CAM of EfficientNet-Lite0, six photographs and six seeds, no map of the random network
reached more than 0.50 and 0.32; a map that ignores the network has 1 and 1.
"""

STAYS_STAGES = 0.5
"""Share of the stages of which a map must not stay through more.

By then the head and most of the network are random. One stage is not enough to say that a map does
not see them: see :func:`sanity_check`. With Ablation-CAM of EfficientNet-Lite0, four photographs,
nine seeds and eight stages, each map had left after the first; a map that ignores the network never
does.
"""

MAX_DRAWN = 8
"""Maps of each image that are drawn, the intact one included."""


def sanity_check(
    model: nn.Module,
    target_layer: str | nn.Module | None,
    inputs: Inputs,
    classes: Classes = None,
    *,
    explain: Explain | None = None,
    stages: int = MAX_STAGES,
    seed: int = 0,
    score: Score = "logit",
    ablation: Ablation = "zero",
    layout: str = "auto",
    engine: Engine = "auto",
    memory_budget: int | None = None,
    forward: Forward | None = None,
    reference: Any = None,
    output: str | int | None = None,
    task: AnyTask = "auto",
    embeddings: Embeddings = None,
    masks: Tensor | None = None,
) -> SanityResult:
    """Check that a map depends on what the network has learned: cascading randomisation.

    The parameters are replaced by random ones from the output down, and after each stage the map is
    computed again, for the same classes. A map that shows what the network does must change; one
    that stays shows the picture, such as its edges, whatever the network.

    The modules are taken in the reverse order in which a forward uses their parameters. The first
    stage is the module nearest to the output alone; the others share what is left evenly, so that a
    deep network takes no more than ``stages`` explanations.

    A map stays where it is like the intact one in the end, or through more than half of the stages:
    one that reads the first layers only changes at last, and shows nothing of what the network
    makes of them. That it stays through a stage or two means little. Where the head alone is
    random, Ablation-CAM is another weighted sum of the same activations, and now and then much like
    the intact one: with EfficientNet-Lite0 2 of 36 maps correlated at 0.93.

    Random values are those of the module's own ``reset_parameters``; parameters that it does not
    have or does not set, such as class tokens and the originals of parametrisations, get normal
    numbers of their own mean and standard deviation, so that what is all the same stays. The
    running statistics of batch norms above the lowest random parameter, frozen ones included, are
    taken anew from ``inputs``, by one more forward in each stage: those of training belong to other
    activations, and with either them or those of a new module the signal dies on its way through a
    deep network, and all maps with it. Other buffers, and parameters that the forward does not use,
    stay.

    The model is left as it was found, also after an exception: its parameters and buffers are the
    same objects, with the same memory, values and gradients. Their versions stay too, unless
    ``explain`` or a module's ``reset_parameters`` itself writes to them, as one does that reaches
    other modules through a plain list. The model must not run elsewhere at the same time, as in
    another thread. The random number generators go on as if nothing had been drawn.

    Args:
        model: As in :func:`~lightning_ablationcam.ablation_cam`, and so are all arguments but the
            next few. Its parameters must be ordinary tensors; sharded and quantised ones are
            refused.
        target_layer: The value that is explained; one only. ``"auto"`` is found in the intact
            network, and kept. ``explain`` needs none: None, or a layer that exists.
        inputs: What the model is fed for N images, or a :class:`~lightning_ablationcam.ProbeSet`.
            Four or more: batch norms take their statistics from them.
        classes: None for each image's predicted class, an int for all, or N ints. Predictions are
            those of the intact network, and so are the regions of a segmentation.
        explain: Any other explanation to check, ``(model, inputs, classes) -> (N, ...)`` heatmaps,
            tensors or arrays, of one shape in all stages; ``classes`` is a tensor (N,). It is
            called with gradients on and, each time, the random number generators at ``seed``. What
            says how Ablation-CAM is computed is not used then.
        stages: How many stages at most.
        seed: What random parameters are drawn from.
        score: ``"logit"``, ``"probability"``, ``"contrast"`` or a callable.
        ablation: What takes a channel's place.
        layout: Where channels and positions are.
        engine: Which engine computes the drops.
        memory_budget: Bytes one batch may use.
        forward: ``(model, inputs) -> output``.
        reference: The images over which ``ablation="mean"`` and ``"noise"`` take their means.
        output: Which part of what the model returns are the logits.
        task: What the logits mean.
        embeddings: What the model's embeddings are compared with.
        masks: For segmentation, the region over which the mean is taken.

    Returns:
        The result, on the CPU.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If an argument is out of range, the model uses no parameters, or the layer does
            not exist, does not run or has no spatial map.
        RuntimeError: If the model rejects the inputs.

    Source:
        Adebayo, J. et al. "Sanity Checks for Saliency Maps", NeurIPS 2018. They re-initialise the
        layers of named networks; maps are compared by rank correlation and SSIM, as here.

    Example:
        >>> model = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 5)
        ... )
        >>> images = torch.rand(4, 3, 8, 8)
        >>> result = sanity_check(model, "1", images)
        >>> result.stages, result.correlation.shape, result.passed
        (('3', '0'), torch.Size([2, 4]), True)
        >>> brightness = lambda model, inputs, classes: inputs.mean(dim=1)
        >>> sanity_check(model, None, images, explain=brightness).stays
        tensor([True, True, True, True])
    """
    options = Options(
        score,
        ablation,
        None,
        layout,
        engine,
        memory_budget,
        forward,
        (),
        reference,
        output,
        task,
        embeddings,
    )
    _check(target_layer, explain, stages, seed)
    inputs = _fed(model, inputs)
    wanted = wanted_of(model, inputs, classes, options, masks=masks)
    if isinstance(target_layer, nn.Module) or target_layer not in (None, "auto"):
        find_target(model, target_layer)
    tell = _once(warn)
    # Random parameters may make a forward write to what it has never written to.
    forget_unwritten(model)
    with isolated(model, tell), replaceable(model):
        network = _Network(model, plain(inputs), options, int(seed))
        if explain is None:
            assert target_layer is not None
            intact, asked, find = network.ablated(target_layer, masks, tell, classes)
        else:
            asked = network.classes(wanted, masks)
            find = partial(network.explained, explain, asked)
            intact = find()
        names, maps = network.cascade(find, intact, int(stages))
    return _compared(names, torch.stack(maps), intact, asked, int(seed))


@dataclass(frozen=True, eq=False)
class SanityResult:
    """What :func:`~lightning_ablationcam.sanity_check` found, for S stages and N images.

    Tensors are on the CPU. ``print(result)`` shows a table.

    Attributes:
        stages: For each stage the name of the lowest module that is random from then on. Of a
            module in which others have parameters too, which stay out, it is the name of its own
            ones, such as ``"encoder.pos_embedding"``.
        modules: For each stage the names of the modules that became random in it.
        correlation: (S, N) float64, Spearman's rank correlation of a map with the intact one. 0
            where the map is the same everywhere, such as cold; NaN where the intact map is that, so
            that there is nothing to follow, and where heat is not finite.
        similarity: (S, N) float64, structural similarity, relative to each map's hottest place; NaN
            likewise.
        maps: (S, N, h, w) float32, the maps; of whatever dimensions the explanation has.
        intact: (N, h, w) float32, the maps of the intact network.
        moved: (N,) int64, the first stage after which a map is no longer like the intact one, whose
            correlation and similarity then are not both at least :data:`STAYS_CORRELATION` and
            :data:`STAYS_SIMILARITY`; S if it never left. -1 where the intact map is the same
            everywhere or not finite.
        stays: (N,) bool, whether a map is like the intact one after the last stage, when all that
            the forward uses is random, or was so through more than :data:`STAYS_STAGES` of them.
        classes: (N,) int64, the classes explained.
        seed: What random parameters were drawn from.
    """

    stages: tuple[str, ...]
    modules: tuple[tuple[str, ...], ...]
    correlation: Tensor
    similarity: Tensor
    maps: Tensor
    intact: Tensor
    moved: Tensor
    stays: Tensor
    classes: Tensor
    seed: int

    @property
    def passed(self) -> bool:
        """Whether there are maps that can be compared, and none of them stays."""
        return bool(self.compared.any()) and not bool(self.stays.any())

    @property
    def compared(self) -> Tensor:
        """(N,) bool, whether a map can be compared.

        It must be finite and not the same everywhere, in the intact network and after the last
        stage.
        """
        last = self.maps[-1]
        return (self.moved >= 0) & ~_is_even(last) & _is_finite(last)

    @property
    def cold(self) -> Tensor:
        """(S, N) bool, whether a map has no heat at all: of such, low correlation says little."""
        cold: Tensor = ~self.maps.flatten(2).any(dim=2)
        return cold

    def __str__(self) -> str:
        width = max(len("random down to"), *map(len, self.stages))
        lines = [f"{'random down to':{width}}  modules  correlation  similarity  cold maps"]
        for place, name in enumerate(self.stages):
            correlation, similarity = (
                float(values[place].nanmean()) for values in (self.correlation, self.similarity)
            )
            lines.append(
                f"{name:{width}}  {len(self.modules[place]):7d}  {correlation:11.2f}  "
                f"{similarity:10.2f}  {int(self.cold[place].sum()):9d}"
            )
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        count, compared = len(self.stays), int(self.compared.sum())
        could = "" if compared == count else f"{compared} of {_maps(count)} could be compared"
        stay = int(self.stays.sum())
        if stay:
            verdict = f"not passed: {stay} of {_maps(count)} {_verb('stay', stay)}{self._until()}"
            return f"{verdict}; {could}" if could else verdict
        if not bool((self.moved >= 0).any()):
            return "not passed: no map of the intact network has heat, so that none can follow"
        if not compared:
            return "not passed: after the last stage no map has heat, which says nothing"
        follow = f"{_verb('follow', compared)} the parameters"
        if could:
            return f"passed: {could}, and {follow}"
        return f"passed: {'the map' if count == 1 else f'all {count} maps'} {follow}"

    def _until(self) -> str:
        """How long the maps stay."""
        in_the_end = _are_like(self.correlation[-1], self.similarity[-1])
        left = set(self.moved[self.stays & ~in_the_end].tolist())
        if not left:
            return ", whatever the parameters"
        is_one = len(left) == 1 and not bool(in_the_end.any())
        return f"{'' if is_one else ' at least'} until {self.stages[min(left)]!r} is random"

    def draw(self, pictures: NDArray[np.uint8], names: Sequence[str] | None = None) -> NDArray[Any]:
        """Draw for each picture the intact map and those of some stages, evenly chosen.

        Each map is on a scale of its own.

        Args:
            pictures: (N, H, W, 3) uint8, RGB: the images as they look, for example
                ``ProbeSet(...).pictures()``; for maps of three spatial dimensions
                ``ProbeSet(...).pictures(result.intact.shape[1:])``.
            names: What each picture is called, such as ``ProbeSet(...).names``.

        Returns:
            (H', W', 3) uint8, RGB, ready for ``PIL.Image.fromarray``.

        Raises:
            TypeError: If ``pictures`` is no uint8 array.
            ValueError: If there are not N of them, or of ``names``.

        Example:
            >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
            >>> result = sanity_check(model, "0", torch.rand(4, 3, 8, 8))
            >>> result.draw(np.zeros((4, 32, 32, 3), np.uint8)).dtype
            dtype('uint8')
        """
        # Here, so that whoever draws nothing needs no Pillow.
        from lightning_ablationcam.render.evolution import evolution_strips

        count = len(self.intact)
        titles = [f"image {place}" for place in range(count)] if names is None else list(names)
        for name, values in (("pictures", pictures), ("names", titles)):
            if len(values) != count:
                raise ValueError(
                    f"{name} has {len(values)} entries; expected one for each of {count}"
                )
        chosen = evenly_chosen(len(self.stages), MAX_DRAWN - 1)
        maps = torch.cat([self.intact[None], self.maps[chosen]])
        return evolution_strips(
            pictures,
            [_shares(maps[:, row]) for row in range(count)],
            [
                [["intact"], *(self._caption(stage, row) for stage in chosen)]
                for row in range(count)
            ],
            [
                [title, *(["stays"] if stays else [])]
                for title, stays in zip(titles, self.stays.tolist(), strict=True)
            ],
            ["random from the output down to the module named", self._verdict()],
            "maximum of each map",
        )

    def _caption(self, stage: int, row: int) -> list[str]:
        return [self.stages[stage], f"corr. {float(self.correlation[stage, row]):.2f}"]


class _Network:
    """A network whose parameters become random.

    Args:
        model: The model.
        inputs: What it is fed.
        options: How an explanation is computed.
        seed: What random parameters are drawn from.
    """

    def __init__(self, model: nn.Module, inputs: Inputs, options: Options, seed: int) -> None:
        self._model, self._inputs, self._options, self._seed = model, inputs, options, seed
        self._devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}

    def ablated(
        self,
        target_layer: str | nn.Module,
        masks: Tensor | None,
        tell: Callable[[str], None],
        classes: Classes,
    ) -> tuple[Tensor, Tensor, Callable[[], Tensor]]:
        """The intact Ablation-CAM, the classes it explains, and what finds that of these again."""
        model, inputs, options = self._model, self._inputs, self._options
        found = explain_classes(model, target_layer, inputs, classes, options, tell, masks=masks)
        if masks is None and found.task == "segmentation":
            masks = found.regions  # Not those of a random network.
        layer, asked = found.layer, found.classes

        def again() -> Tensor:
            result = explain_classes(model, layer, inputs, asked, options, tell, masks=masks)
            if result.fallback is not None:
                tell(replay_notice(result.fallback))
            return result.heatmaps

        return found.heatmaps, asked, again

    def classes(self, wanted: Wanted, masks: Tensor | None) -> Tensor:
        """(N,) the classes that are asked for; predicted ones are read off one forward."""
        if wanted.first is not None:
            return wanted.first.to("cpu", torch.int64).clone()
        model, inputs, options = self._model, self._inputs, self._options
        meaning, count = meaning_of(model, inputs, options, masks), count_of(inputs)
        with Endings() as endings:
            output = run(model, inputs, options.run)
        ending = endings.activation_of(output) if isinstance(output, Tensor) else None
        head = meaning.head(output, count, ending)
        return wanted.known_for(head).classes(head, output, count)[:, 0].cpu()

    def explained(self, explain: Explain, classes: Tensor) -> Tensor:
        """The maps of another explanation."""
        device = next((each.device for each in self._model.parameters()), classes.device)
        with kept_random_state(self._devices), torch.enable_grad():
            self._start()
            found = explain(self._model, copied(self._inputs), classes.clone().to(device))
        return _checked_maps(found, len(classes))

    def cascade(
        self, find: Callable[[], Tensor], intact: Tensor, stages: int
    ) -> tuple[list[tuple[str, ...]], list[Tensor]]:
        """The names of the modules of each stage, and the maps after it."""
        course = course_of(self._model, self._run)
        if not course.units:
            raise ValueError(
                "model uses no parameters in its forward; there is nothing to randomise"
            )
        names: list[tuple[str, ...]] = []
        maps: list[Tensor] = []
        above: list[Unit] = []
        self._start()
        for units in _grouped(course.units, stages):
            for unit in units:
                randomise(unit)
            above += units
            self._adapt(course, above)
            with kept_random_state(self._devices):
                maps.append(_like(find(), intact))
            names.append(tuple(map(str, units)))
        return names, maps

    def _adapt(self, course: Course, units: Sequence[Unit]) -> None:
        norms = course.norms_after(units)
        if norms:
            with estimated_statistics(norms):
                self._run()

    def _run(self) -> object:
        forward = call if self._options.forward is None else self._options.forward
        return forward(self._model, copied(self._inputs))

    def _start(self) -> None:
        """Set all generators that a forward may draw from; the caller keeps their states."""
        random.seed(self._seed)
        np.random.seed(self._seed % 2**32)  # noqa: NPY002
        # Not torch.manual_seed: it would seed devices that are not in use, for good.
        torch.default_generator.manual_seed(self._seed)
        for device in self._devices - {torch.device("cpu")}:
            module = torch.get_device_module(device)
            if hasattr(module, "manual_seed") and hasattr(module, "device"):
                with module.device(device):
                    module.manual_seed(self._seed)


def _check(target_layer: Any, explain: object, stages: object, seed: object) -> None:
    if target_layer is None and explain is None:
        raise TypeError("target_layer=None goes with explain= only; expected 'auto' or a layer")
    if target_layer is not None:
        check_target_layer(target_layer)
    if not isinstance(target_layer, (str, nn.Module, type(None))):
        raise TypeError(f"target_layer={shown(target_layer)}; expected one layer, not several")
    if explain is not None:
        check_callable("explain", explain, "(model, inputs, classes) -> heatmaps")
    check_count("stages", stages)
    expected = "expected a whole number from 0 to 2**63 - 1"
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(f"seed={shown(seed)}; {expected}")
    if not 0 <= int(seed) < 2**63:
        raise ValueError(f"seed={shown(seed)}; {expected}")


def _fed(model: nn.Module, inputs: Any) -> Inputs:
    """What the model is fed; that of a ProbeSet on the model's device."""
    of_probes = getattr(inputs, "inputs", None)
    if of_probes is None or not isinstance(model, nn.Module):
        return inputs
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return mapped(of_probes, lambda tensor: tensor.to(device))


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Says each thing once, and not again in every stage."""
    said = set()

    def told(message: str) -> None:
        if message not in said:
            said.add(message)
            tell(message)

    return told


def _grouped(units: Sequence[Unit], stages: int) -> list[list[Unit]]:
    """The first alone, and the others in groups as even as can be, in their order.

    Example:
        >>> [len(group) for group in _grouped(list(range(11)), 4)]
        [1, 4, 3, 3]
        >>> _grouped(["only"], 4)
        [['only']]
    """
    if stages == 1 or len(units) == 1:
        return [list(units)]
    rest, count = units[1:], min(stages - 1, len(units) - 1)
    ends = [(place * len(rest) + count - 1) // count for place in range(count + 1)]
    groups = [rest[start:end] for start, end in pairwise(ends)]
    return [list(group) for group in (units[:1], *groups)]


def _checked_maps(found: Any, count: int) -> Tensor:
    """Another explanation's maps, on the CPU."""
    expected = f"expected heatmaps of shape ({count}, h, w)"
    if not isinstance(found, (Tensor, np.ndarray)):
        raise TypeError(f"explain returned {shown(found)}; {expected}")
    maps = as_tensor(found).detach().float().cpu()
    if maps.ndim not in (2, 3, 4) or len(maps) != count or not maps.numel():
        raise ValueError(f"explain returned shape {tuple(maps.shape)}; {expected}")
    return maps.clone()


def _like(maps: Tensor, intact: Tensor) -> Tensor:
    if maps.shape != intact.shape:
        raise ValueError(
            f"explain returned shape {tuple(maps.shape)} after {tuple(intact.shape)}; expected "
            "heatmaps of one shape"
        )
    return maps


def _compared(
    names: Sequence[tuple[str, ...]], maps: Tensor, intact: Tensor, classes: Tensor, seed: int
) -> SanityResult:
    correlation = torch.stack([rank_correlation(intact, each) for each in maps])
    similarity = torch.stack([structural_similarity(intact, each) for each in maps])
    says_nothing = _is_even(intact)
    correlation[:, says_nothing] = similarity[:, says_nothing] = torch.nan
    is_like = _are_like(correlation, similarity)
    moved = is_like.cumprod(dim=0).sum(dim=0)
    return SanityResult(
        stages=tuple(group[-1] for group in names),
        modules=tuple(names),
        correlation=correlation,
        similarity=similarity,
        maps=maps,
        intact=intact,
        moved=moved.masked_fill(says_nothing | ~_is_finite(intact), -1),
        stays=is_like[-1] | (moved > STAYS_STAGES * len(names)),
        classes=classes,
        seed=seed,
    )


def _are_like(correlation: Tensor, similarity: Tensor) -> Tensor:
    """Whether maps are like the intact ones; never where that is not known."""
    return (correlation >= STAYS_CORRELATION) & (similarity >= STAYS_SIMILARITY)


def _maps(count: int) -> str:
    return f"{count} {'map' if count == 1 else 'maps'}"


def _verb(verb: str, count: int) -> str:
    return f"{verb}s" if count == 1 else verb


def _is_even(maps: Tensor) -> Tensor:
    """(N,) bool, whether a map is the same everywhere, such as cold."""
    flat = maps.flatten(1)
    return (flat == flat[:, :1]).all(dim=1)


def _is_finite(maps: Tensor) -> Tensor:
    return maps.flatten(1).isfinite().all(dim=1)


def _shares(maps: Tensor) -> list[NDArray[np.float32]]:
    """Each map relative to its hottest place, with two dimensions."""
    from lightning_ablationcam.render.mosaic import flat_maps

    peaks = maps.flatten(1).amax(dim=1).view(-1, *[1] * (maps.ndim - 1))
    return list(flat_maps((maps / torch.where(peaks > 0, peaks, 1)).numpy()))
