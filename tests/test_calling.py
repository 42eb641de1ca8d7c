"""LightningModules are called as they are, by convention."""

from __future__ import annotations

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lightning_ablationcam import AblationCAMMonitor, ProbeSet, ablation_cam
from lightning_ablationcam.network.calling import call
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.calling import conventions
from lightning_ablationcam.run.explainer import Explainer
from tests.lightning import Module, loaders, trainer
from tests.networks import images


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class Dicts(Dataset):
    def __init__(self, key="image"):
        self.key, self.pictures = key, images(8, seed=4)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {self.key: self.pictures[index], "labels": index % 4, "name": f"picture {index}"}


class OnDicts(Module):
    """Trained on dicts; the forward is what differs below."""

    key = "image"

    def training_step(self, batch):
        return F.cross_entropy(self.model(batch[self.key]), batch["labels"])

    def validation_step(self, batch):
        loss = F.cross_entropy(self.model(batch[self.key]), batch["labels"])
        self.log("val_loss", loss, batch_size=4)


class WholeBatch(OnDicts):
    def forward(self, batch):
        return {"logits": self.model(batch["image"]), "labels": batch["labels"]}


class UnnamedBatch(OnDicts):
    def forward(self, x):
        return self.model(x["image"])


class WithAge(Dicts):
    def __getitem__(self, index):
        return {**super().__getitem__(index), "age": torch.ones(2)}


def test_what_a_module_does_not_take_is_left_out(tmp_path, caplog):
    monitor = AblationCAMMonitor(probes=4, on_error="raise")
    loader = DataLoader(WithAge(), batch_size=4)
    trainer(tmp_path, monitor, max_epochs=1).fit(OnDicts(), loader, loader)
    assert "calls forward with the images alone" in caplog.text


class ByName(OnDicts):
    """As Hugging Face's: the picture is not the first parameter."""

    key = "pixel_values"

    def forward(self, input_ids=None, pixel_values=None, labels=None):
        return {"loss": None, "logits": self.model(pixel_values)}


class AnyName(OnDicts):
    key = "pixel_values"

    def forward(self, **inputs):
        return self.model(inputs["pixel_values"])


class Predicting(OnDicts):
    """No forward of its own, and a step that does the preprocessing."""

    forward = LightningModule.forward

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        return self.model(batch["image"] * 2)


class Holding(OnDicts):
    forward = LightningModule.forward


class Encoding(OnDicts):
    forward = LightningModule.forward

    def __init__(self):
        super().__init__()
        self.visual = self.model
        del self.model

    def encode_image(self, picture):
        return self.visual(picture)

    def training_step(self, batch):
        return self.visual(batch["image"]).square().mean()

    def validation_step(self, batch):
        self.log("val_loss", self.visual(batch["image"]).square().mean(), batch_size=4)


@pytest.mark.parametrize(
    ("kind", "says", "scaled"),
    [
        (WholeBatch, "forward with the whole batch", 1),
        (UnnamedBatch, "forward with the whole batch", 1),
        (ByName, "forward by the names of the batch", 1),
        (AnyName, "forward by the names of the batch", 1),
        (Predicting, "predict_step", 2),
        (Holding, "model", 1),
        (Encoding, "encode_image", 1),
    ],
)
def test_a_module_is_called_as_is_conventional(tmp_path, kind, says, scaled, caplog):
    module = kind()
    options = {"embeddings": "own"} if kind is Encoding else {}
    monitor = AblationCAMMonitor(probes=4, on_error="raise", **options)
    loader = DataLoader(Dicts(kind.key), batch_size=4)
    trainer(tmp_path, monitor, max_epochs=2).fit(module, loader, loader)
    assert len(monitor.history.passes) == 2
    assert f"calls {says}" in caplog.text
    inner = getattr(module, "model", None) or module.visual
    labels = None if options else monitor.probes.labels
    again = ablation_cam(inner, "conv", monitor.probes.images * scaled, labels, **options)
    assert monitor.result.layer.endswith(("conv:activation", "conv"))
    torch.testing.assert_close(monitor.result.scores, again.scores)


def test_what_encodes_has_no_classes(tmp_path):
    loader = DataLoader(Dicts(), batch_size=4)
    with pytest.raises(ValueError, match=r"or embeddings= for what its encode_image returns"):
        trainer(tmp_path, AblationCAMMonitor(probes=4)).fit(Encoding(), loader, loader)


def test_a_plain_module_is_called_plainly(tmp_path, caplog):
    monitor = AblationCAMMonitor(probes=4, on_error="raise")
    trainer(tmp_path, monitor, max_epochs=1).fit(Module(), *loaders())
    assert "; calls" not in caplog.text
    assert "its task is taken to be 'multiclass'" in caplog.text


def test_where_nothing_takes_the_probes_the_first_way_is_blamed():
    class Strange(nn.Module):
        def forward(self, x):
            raise KeyError("nothing fits")

    probes = ProbeSet(torch.rand(2, 3, 8, 8), batch={"image": torch.rand(2, 3, 8, 8)})
    ways = conventions(Strange(), probes, None)
    assert [way.says for way in ways] == [None, "forward with the whole batch"]
    with pytest.raises(RuntimeError, match=r"rejected the inputs of shape .*pass forward="):
        Explainer("auto", "predicted", Options()).explain(Strange(), probes)


def test_what_the_user_says_counts():
    probes = ProbeSet(torch.rand(2, 3, 8, 8))
    said = conventions(nn.Conv2d(3, 1, 1), probes, lambda m, x: m(x) * 2)
    assert len(said) == 1
    with pytest.raises(ValueError, match=r"Identity2 defines no forward.*pass forward="):
        conventions(type("Identity2", (nn.Module,), {})(), probes, None)


class Several(nn.Module):
    def forward(self, left, right):
        return left - right


class One(nn.Module):
    def forward(self, x, mask=None):
        return x if mask is None else ("named", x, mask)


class Anything(nn.Module):
    def forward(self, *args, **names):
        return args, names


@pytest.mark.parametrize(
    ("module", "inputs", "expected"),
    [
        (Several(), (3, 1), 2),
        (Several(), [3, 1], 2),
        (Several(), {"right": 1, "left": 3}, 2),
        (One(), {"image": 1}, {"image": 1}),
        (One(), {"x": 1, "mask": 2}, ("named", 1, 2)),
        (One(), (1, 2), (1, 2)),
        (Anything(), (1, 2), ((1, 2), {})),
        (Anything(), {"a": 1}, ((), {"a": 1})),
    ],
)
def test_dicts_go_by_name_and_tuples_one_by_one(module, inputs, expected):
    assert call(module, inputs) == expected


class Triplets(Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return tuple(images(8, seed=seed)[index] for seed in (4, 5, 6))


class OnTriplets(Module):
    def training_step(self, batch):
        return self(batch[0]).square().mean()

    def validation_step(self, batch):
        self.log("val_loss", self(batch[0]).square().mean())


@pytest.mark.parametrize("options", [{"classes": "predicted"}, {"embeddings": "own"}])
def test_of_several_views_without_labels_the_first_is_watched(tmp_path, options):
    monitor = AblationCAMMonitor(probes=4, on_error="raise", **options)
    loader = DataLoader(Triplets(), batch_size=4)
    with pytest.warns(UserWarning, match="probes=4: the first of several tensors is fed"):
        trainer(tmp_path, monitor, max_epochs=1).fit(OnTriplets(), loader, loader)
    assert torch.equal(monitor.probes.inputs, images(8, seed=4)[:4])
    assert len(monitor.history.passes) == 1


def test_a_users_forward_may_take_the_images_alone():
    probes = ProbeSet({"image": images(2), "age": torch.rand(2, 2)})
    explainer = Explainer("conv", "predicted", Options(forward=lambda m, x: m(x * 1)))
    explainer.explain(Module().model, probes)
    assert explainer.says == "forward= with the images alone"


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, image, age=None):
        return self.conv(image).mean((2, 3)) + (0 if age is None else age.sum(1, keepdim=True))


def test_of_a_dict_what_a_module_knows_is_handed_over():
    inputs = {"image": images(2), "age": torch.rand(2, 2), "weight": torch.rand(2)}
    probes, explainer = ProbeSet(inputs, batch=inputs), Explainer("conv", 1, Options())
    result = explainer.explain(model := Two(), probes)
    assert explainer.says == "forward by the names it takes"
    torch.testing.assert_close(result.scores, model(images(2), inputs["age"])[:, 1].detach())


def test_a_reference_must_hold_what_the_module_is_called_with():
    class Whole(Two):
        def forward(self, batch):
            return super().forward(batch["image"])

    probes = ProbeSet(images(2), batch={"image": images(2)})
    options = Options(ablation="mean", reference=ProbeSet(images(2, seed=8)))
    with pytest.raises(ValueError, match="holds no batches"):
        Explainer("conv", 1, options).explain(Whole(), probes)


def test_names_are_handed_over_where_no_other_is_required():
    class Needs(nn.Module):
        def forward(self, batch, image=None):
            return batch

    assert call(Needs(), {"image": 1}) == {"image": 1}
