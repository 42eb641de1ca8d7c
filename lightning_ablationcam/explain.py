"""One explanation of a LightningModule, in the precision and the silence it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from lightning_ablationcam.cam import explain_classes
from lightning_ablationcam.isolation import without_autocast
from lightning_ablationcam.options import Options
from lightning_ablationcam.result import AblationResult
from lightning_ablationcam.silence import silenced


def explain(
    trainer: Trainer,
    module: LightningModule,
    target_layer: str | nn.Module,
    inputs: Tensor,
    classes: Any,
    options: Options,
    tell: Callable[[str], None],
) -> AblationResult:
    """Run :func:`~lightning_ablationcam.ablation_cam` on a module under training.

    The forward runs as the Trainer's precision has it, so that tensors it creates are of the
    parameters' dtype, but without autocast: in half precision most channels' drops would be lost.

    Args:
        trainer: The Trainer.
        module: The module.
        target_layer: As in ``ablation_cam``.
        inputs: (N, C, H, W) the probes, on the CPU.
        classes: As in ``ablation_cam``.
        options: The other arguments of ``ablation_cam``.
        tell: Is told of what could not be given back to the module.

    Returns:
        The result, on the CPU.
    """
    precision = trainer.precision_plugin

    def in_precision(model: Any, images: Any) -> Any:
        with precision.forward_context(), without_autocast({"cpu", module.device.type}):
            return options.run(model, images)

    with silenced(module, trainer):
        return explain_classes(
            module,
            target_layer,
            precision.convert_input(inputs).to(module.device),
            classes,
            replace(options, forward=in_precision),
            tell,
        )
