"""Which channels' maps agree: ``group_channels``, for ``ablation_cam(groups=...)``."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_ablationcam.arguments import check_count, shown
from lightning_ablationcam.result import AblationResult


def group_channels(result: AblationResult, n: int) -> Tensor:
    """Put channels whose maps agree into groups, to be ablated together.

    Features that stand in for each other look unimportant one by one, and lie at the same places
    often. The maps of a channel in all images are one vector; channels are clustered by the cosine
    between those, bottom up with average linkage. That says nothing of whether the network goes on
    with them alike: :func:`~lightning_ablationcam.interaction` does.

    A channel that is zero everywhere has no direction. It agrees with others that are, and is at
    right angles to all that are not, so that such channels come into one group first. An image with
    maps that are not finite is left out.

    Args:
        result: What :func:`~lightning_ablationcam.ablation_cam` found, for any class.
        n: How many groups, 1 ... K; of K each channel is its own.

    Returns:
        (K,) int64 in 0 ... n-1, the group of each channel, for ``ablation_cam(groups=...)``.
        Numbered in the order of their first channels, and always the same.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If ``n`` is out of range, or the result holds no maps.
        ImportError: If scikit-learn is missing, which the extra ``groups`` installs.

    Example:
        >>> from lightning_ablationcam import ablation_cam
        >>> model = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 3, 3), torch.nn.Flatten(), torch.nn.Linear(3 * 36, 2)
        ... )
        >>> model[0].weight.data[2], model[0].bias.data[2] = model[0].weight[0], model[0].bias[0]
        >>> images = torch.rand(2, 3, 8, 8)
        >>> group_channels(ablation_cam(model, "0", images), 2)
        tensor([0, 1, 0])
    """
    if not isinstance(result, AblationResult):
        raise TypeError(f"result={shown(result)}; expected an AblationResult of ablation_cam")
    check_count("n", n)
    maps = result.channel_maps
    if maps is None:
        raise ValueError(
            f"result holds no channel maps (channel_maps=None, {len(result.scores)} images); "
            "expected what ablation_cam returns, of so few images that their maps take at most "
            "256 MiB. Results of the monitor, and those in also, hold none"
        )
    count = maps.shape[1]
    if n > count:
        raise ValueError(f"n={shown(n)}; expected 1 to {count}, the number of channels")
    if n == count:
        return torch.arange(count)
    try:
        from sklearn.cluster import AgglomerativeClustering
    except ImportError as error:
        raise ImportError(
            "group_channels needs scikit-learn: pip install 'lightning-ablationcam[groups]'"
        ) from error
    clustering = AgglomerativeClustering(int(n), metric="precomputed", linkage="average")
    return _in_order(torch.as_tensor(clustering.fit_predict(_distances(maps).numpy())))


def _distances(maps: Tensor) -> Tensor:
    """(K, K) float64, 1 - cosine between the channels' maps in all images."""
    products = torch.zeros(maps.shape[1], maps.shape[1], dtype=torch.float64)
    for image in maps.flatten(2):
        if image.isfinite().all():
            products += image.double() @ image.double().T
    sizes = products.diagonal().sqrt()
    dead = sizes == 0
    sizes = torch.where(dead, 1, sizes)
    cosines = (products / sizes / sizes[:, None]).clamp(-1, 1)
    cosines[dead[:, None] & dead] = 1
    return 1 - cosines.fill_diagonal_(1)


def _in_order(labels: Tensor) -> Tensor:
    """The same groups, numbered in the order of their first members.

    Example:
        >>> _in_order(torch.tensor([2, 0, 2, 1]))
        tensor([0, 1, 0, 2])
    """
    first = {label: place for place, label in enumerate(dict.fromkeys(labels.tolist()))}
    return torch.tensor([first[label] for label in labels.tolist()])
