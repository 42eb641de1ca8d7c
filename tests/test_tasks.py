"""What an output means: one reference a task, both engines."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_ablationcam import ProbeSet, ablation_cam
from lightning_ablationcam.method.heads.meaning import Meaning, check_masks, check_task
from lightning_ablationcam.method.heads.regions import DenseRegression, Segmentation
from lightning_ablationcam.method.heads.vectors import Similarity, check_embeddings
from lightning_ablationcam.network.declared import declared_task
from lightning_ablationcam.options import Options
from lightning_ablationcam.run.explainer import Explainer
from tests.networks import images, seeded
from tests.reference import ablation_cam_reference

ENGINES = pytest.mark.parametrize("engine", ["propagate", "replay"])


class Columns(nn.Module):
    def __init__(self, columns=4, squeeze=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.head = nn.Linear(6, columns)
        self.squeeze = squeeze

    def forward(self, x):
        y = self.head(F.relu(self.conv(x)).mean((2, 3)))
        return y.squeeze(1) if self.squeeze else y


class Places(nn.Module):
    """A tiny segmentation network with a nonlinear or a linear end."""

    def __init__(self, classes=4, mixing=False):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.mix = nn.Conv2d(6, 6, 3, padding=1) if mixing else nn.Identity()
        self.head = nn.Conv2d(6, classes, 1)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        y = self.head(F.relu(self.mix(x)))
        return F.interpolate(y, scale_factor=2, mode="bilinear")


def close(result, reference):
    torch.testing.assert_close(result.drops, reference.drops, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(result.scores, reference.scores, rtol=1e-9, atol=1e-12)


# ---- several labels ------------------------------------------------------------------------------


@ENGINES
def test_several_labels_have_a_sigmoid_each(engine):
    model, x = seeded(Columns()).double(), images().double()
    result = ablation_cam(
        model, "conv", x, 2, task="multilabel", score="probability", engine=engine, also=("rival",)
    )
    reference = ablation_cam_reference(
        model, "conv", x, [2] * 3, score=lambda output, c: output[0, c].sigmoid()
    )
    close(result, reference)
    logits = model(x).detach()
    torch.testing.assert_close(result.probabilities, logits[:, 2].sigmoid())
    others = logits.clone()
    others[:, 2] = -torch.inf
    assert torch.equal(result.also[0].classes, others.argmax(1))
    assert result.task == "multilabel"


# ---- one logit, quantities -----------------------------------------------------------------------


@ENGINES
def test_one_logit_without_a_dimension_of_its_own(engine):
    model, x = seeded(Columns(1, squeeze=True)).double(), images(6).double()
    result = ablation_cam(model, "conv", x, engine=engine)
    side = (model(x) > 0).long()
    assert torch.equal(result.classes, side)
    reference = ablation_cam_reference(
        model, "conv", x, side, score=lambda output, c: output[0] * (2 * c - 1)
    )
    close(result, reference)
    assert result.task == "binary"


@ENGINES
def test_a_quantity_is_its_own_score(engine):
    model, x = seeded(Columns(1, squeeze=True)).double(), images().double()
    result = ablation_cam(model, "conv", x, engine=engine, task="regression", also=("rival",))
    close(
        result,
        ablation_cam_reference(model, "conv", x, [0] * 3, score=lambda output, c: output[0]),
    )
    assert result.task == "regression"
    assert result.predicted is result.probabilities is result.top_classes is None
    assert result.also == ()


def test_of_several_quantities_one_is_chosen():
    model, x = seeded(Columns(3)), images()
    with pytest.raises(
        ValueError, match="returns 3 quantities; choose one, classes=0 to classes=2"
    ):
        ablation_cam(model, "conv", x, task="regression")
    assert ablation_cam(model, "conv", x, 2, task="regression").classes.tolist() == [2, 2, 2]
    for score, message in (("contrast", "no rivals"), ("probability", "no probability")):
        with pytest.raises(ValueError, match=message):
            ablation_cam(model, "conv", x, 0, task="regression", score=score)


# ---- segmentation --------------------------------------------------------------------------------


def region_mean(masks):
    """The reference's score: masks in the order of the images, one after the other."""
    calls = iter(mask for mask in masks for _ in range(7))  # Intact, and 6 channels.

    def score(output, c):
        mask = next(calls)
        return output[0, c][mask].mean()

    return score


@ENGINES
@pytest.mark.parametrize("mixing", [False, True])
def test_the_score_of_a_segmentation_is_a_mean_over_where_the_class_is(engine, mixing):
    model, x = seeded(Places(mixing=mixing)).double(), images().double()
    output = model(x).detach()
    classes = [1, 2, 3]
    masks = [output.argmax(1)[n] == c for n, c in enumerate(classes)]
    masks = [mask if mask.any() else torch.ones_like(mask) for mask in masks]
    result = ablation_cam(model, "conv", x, classes, engine=engine)
    close(result, ablation_cam_reference(model, "conv", x, classes, score=region_mean(masks)))
    assert torch.equal(result.regions, torch.stack(masks))
    assert (result.task, result.engine) == ("segmentation", engine)


@ENGINES
@pytest.mark.parametrize("score", ["logit", "probability", "contrast"])
def test_every_score_of_a_given_region(engine, score):
    model, x = seeded(Places()).double(), images().double()
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[:, 2:5, 1:4] = True
    result = ablation_cam(model, "conv", x, 1, masks=masks, score=score, engine=engine)
    output = model(x).detach()
    means = output[:, :, 2:5, 1:4].mean((2, 3))
    rivals = means.masked_fill(torch.arange(4) == 1, -torch.inf).argmax(1)
    images_of = iter(n for n in range(3) for _ in range(7))

    def reference_score(output, c):
        inside = output[:, :, 2:5, 1:4]
        if score == "probability":
            return inside.softmax(1)[0, c].mean()
        inside = inside[0].mean((1, 2))
        return inside[c] - (inside[rivals[next(images_of)]] if score == "contrast" else 0)

    close(result, ablation_cam_reference(model, "conv", x, [1] * 3, score=reference_score))
    likely = output[:, :, 2:5, 1:4].softmax(1).mean((2, 3))
    torch.testing.assert_close(result.probabilities, likely[:, 1])
    assert torch.equal(result.top_classes[:, 0], means.argmax(1))
    torch.testing.assert_close(result.top_probabilities, likely.gather(1, result.top_classes))
    assert torch.equal(result.predicted, means.argmax(1))
    assert torch.equal(result.regions, masks)


def test_rivals_are_read_where_the_first_class_is():
    model, x = seeded(Places()).double(), images().double()
    result = ablation_cam(model, "conv", x, 1, also=("rival", 2))
    rival, two = result.also
    assert torch.equal(rival.regions, result.regions)
    again = ablation_cam(model, "conv", x, rival.classes, masks=result.regions)
    torch.testing.assert_close(rival.drops, again.drops)
    alone = ablation_cam(model, "conv", x, 2)
    torch.testing.assert_close(two.drops, alone.drops)
    assert torch.equal(two.regions, alone.regions)


def test_the_class_that_covers_most_is_explained_but_for_the_background():
    output = torch.zeros(3, 3, 10, 10)
    output[0, 0] = 1  # All background.
    output[1, 0] = 1
    output[1, 2, :3] = 2  # A part of class 2.
    output[2, 0] = 1
    output[2, 1, 0, 0] = 2  # One place in a hundred.
    assert Segmentation().predicted(output, 3).tolist() == [0, 2, 1]
    labels = torch.full((3, 5, 5), 255)
    labels[:, 0] = torch.tensor([[1], [0], [2]])
    labels[0, 1, 1] = -1
    assert Segmentation(labels).predicted(output, 3).tolist() == [1, 0, 2]


def test_labels_name_the_region_at_any_resolution():
    model, x = seeded(Places()).double(), images().double()
    labels = torch.zeros(3, 16, 16, dtype=torch.int64)
    labels[:, 4:10, 2:8] = 3
    result = ablation_cam(model, "conv", x, masks=labels)
    assert result.classes.tolist() == [3, 3, 3]
    expected = torch.zeros(3, 8, 8, dtype=torch.bool)
    expected[:, 2:5, 1:4] = True
    assert torch.equal(result.regions, expected)
    # Labels that do not name the class leave the whole image.
    with pytest.warns(UserWarning, match="nowhere of the class explained in 3 of 3"):
        assert ablation_cam(model, "conv", x, 1, masks=labels).regions.all()


@ENGINES
def test_one_column_of_places_has_two_sides(engine):
    model, x = seeded(Places(1)).double(), images().double()
    result = ablation_cam(model, "conv", x, 0, engine=engine, score="probability")
    masks = [(output <= 0) for output in model(x).detach()[:, 0]]
    masks = [mask if mask.any() else torch.ones_like(mask) for mask in masks]
    inside = region_mean(masks)
    reference = ablation_cam_reference(
        model, "conv", x, [0] * 3, score=lambda output, c: inside((-output).sigmoid(), 0)
    )
    close(result, reference)
    torch.testing.assert_close(result.probabilities, result.scores)
    torch.testing.assert_close(result.top_probabilities.sum(1), torch.ones(3).double())


@ENGINES
def test_quantities_at_each_place(engine):
    model, x = seeded(Places(1)).double(), images().double()
    result = ablation_cam(model, "conv", x, engine=engine, task="regression")
    reference = ablation_cam_reference(
        model, "conv", x, [0] * 3, score=lambda output, c: output[0, c].mean()
    )
    close(result, reference)
    assert result.regions.all()
    assert isinstance(
        Meaning(declared="regression").head(torch.ones(1, 1, 2, 2), 1), DenseRegression
    )


def test_chunks_of_images_keep_their_masks():
    model, x = seeded(Places()), images(5)
    labels = torch.randint(0, 4, (5, 8, 8), generator=torch.Generator().manual_seed(0))
    whole = ablation_cam(model, "conv", x, masks=labels)
    parts = ablation_cam(model, "conv", x, masks=labels, memory_budget=1)
    torch.testing.assert_close(whole.drops, parts.drops)
    assert torch.equal(whole.regions, parts.regions)


@pytest.mark.parametrize("end", [nn.Identity(), nn.Softmax(1), nn.Conv2d(4, 4, 3, padding=1)])
def test_auto_looks_for_the_last_features_that_mix(end):
    result = ablation_cam(nn.Sequential(seeded(Places(mixing=True)), seeded(end)), "auto", images())
    assert result.layer == "0.mix:activation"


def test_masks_of_a_classifier_are_said_to_be_of_no_use():
    masks = torch.ones(3, 8, 8, dtype=torch.bool)
    with pytest.warns(UserWarning, match="'multiclass', and they are not used"):
        ablation_cam(seeded(Columns()), "conv", images(), masks=masks)


def test_the_likeliest_of_several_labels_is_no_prediction():
    model, x = seeded(Columns()), images()
    result = ablation_cam(model, "conv", x, 1, task="multilabel")
    pictures = ProbeSet(x).pictures()
    assert (result.predicted != 1).any()
    same = replace(result, predicted=torch.ones_like(result.predicted))
    assert (result.draw(pictures) == same.draw(pictures)).all()


# ---- embeddings ----------------------------------------------------------------------------------


@ENGINES
def test_embeddings_are_compared_with_captions(engine):
    model, x = seeded(Columns(5)).double(), images().double()
    captions = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).double()
    result = ablation_cam(
        model, "conv", x, embeddings=captions, engine=engine, also=("rival",), score="contrast"
    )
    cosines = F.normalize(model(x).detach(), dim=1) @ F.normalize(captions, dim=1).T
    order = cosines.argsort(1, descending=True)
    assert torch.equal(result.classes, order[:, 0])
    assert torch.equal(result.also[0].classes, order[:, 1])
    rivals = dict(zip(order[:, 0].tolist(), order[:, 1].tolist(), strict=True))

    def score(output, c):
        return F.cosine_similarity(output[0], captions[c], dim=0) - F.cosine_similarity(
            output[0], captions[rivals[c]], dim=0
        )

    if len(rivals) == len(set(order[:, 0].tolist())):
        close(result, ablation_cam_reference(model, "conv", x, order[:, 0].tolist(), score=score))
    assert (result.task, result.probabilities) == ("similarity", None)


@ENGINES
def test_an_embedding_is_compared_with_itself(engine):
    model, x = seeded(Columns(5)).double(), images().double()
    result = ablation_cam(model, "conv", x, embeddings="own", engine=engine, also=("rival",))
    own = iter(row for row in model(x).detach() for _ in range(7))
    reference = ablation_cam_reference(
        model,
        "conv",
        x,
        [0] * 3,
        score=lambda output, c: F.cosine_similarity(output[0], next(own), dim=0),
    )
    close(result, reference)
    assert (result.drops >= 0).all()
    torch.testing.assert_close(result.scores, torch.ones(3).double())
    assert result.predicted is None
    assert result.also == ()


def test_auto_finds_layers_for_embeddings_and_places():
    assert ablation_cam(seeded(Columns(5)), "auto", images(), embeddings="own").layer.startswith(
        "conv"
    )


# ---- what a task is taken from -------------------------------------------------------------------


class Declaring(nn.Module):
    def __init__(self, **attributes):
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)


class Config:
    def __init__(self, problem_type):
        self.problem_type = problem_type


@pytest.mark.parametrize(
    ("attributes", "task"),
    [
        ({}, None),
        ({"criterion": nn.CrossEntropyLoss()}, "multiclass"),
        ({"loss": nn.BCEWithLogitsLoss()}, "multilabel"),
        ({"loss_fn": nn.MSELoss()}, "regression"),
        ({"loss": nn.MSELoss(), "criterion": nn.CrossEntropyLoss()}, None),
        ({"recon": nn.MSELoss(), "adversarial": nn.BCEWithLogitsLoss()}, None),
        ({"hparams": {"task": "multilabel"}, "criterion": nn.CrossEntropyLoss()}, "multilabel"),
        ({"hparams": {"task": "ocr"}, "criterion": nn.L1Loss()}, "regression"),
        ({"config": Config("multi_label_classification")}, "multilabel"),
        ({"config": Config(None)}, None),
        ({"task": "regression"}, "regression"),
        ({"task": 3}, None),
    ],
)
def test_a_model_declares_its_task(attributes, task):
    assert declared_task(Declaring(**attributes))[0] == task


@pytest.mark.parametrize(
    ("declared", "output", "task"),
    [
        (None, torch.zeros(2, 3), "multiclass"),
        (None, torch.zeros(2, 1), "binary"),
        (None, torch.zeros(2, 3, 4, 4), "segmentation"),
        (None, torch.zeros(2, 3, 4, 4, 4), "segmentation"),
        ("multilabel", torch.zeros(2, 3), "multilabel"),
        ("multilabel", torch.zeros(2, 1), "binary"),
        ("binary", torch.zeros(2, 2), "multiclass"),
        ("multiclass", torch.zeros(2, 1), "binary"),
        ("regression", torch.zeros(2, 1), "regression"),
        ("multiclass", torch.zeros(2, 3, 4, 4), "segmentation"),
    ],
)
def test_auto_goes_by_what_is_declared_and_the_shape(declared, output, task):
    assert Meaning(declared=declared).head(output, 2).task == task


def test_the_models_word_counts_in_a_pass():
    model, x = seeded(Columns()), images()
    model.criterion = nn.BCEWithLogitsLoss()
    assert ablation_cam(model, "conv", x).task == "multilabel"
    assert ablation_cam(model, "conv", x, task="multiclass").task == "multiclass"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"task": "detection"}, ValueError, "task='detection' is not known; choose 'auto', 'multi"),
        ({"task": "binary"}, ValueError, r"task='binary' does not fit.*\(3, 4\).*\(N, 1\)"),
        ({"task": "segmentation"}, ValueError, r"task='segmentation' does not fit.*\(N, C, H, W\)"),
        ({"task": "similarity"}, ValueError, "needs embeddings"),
        ({"task": "binary", "embeddings": "own"}, ValueError, "embeddings goes with task='simil"),
        ({"embeddings": "mine"}, ValueError, "embeddings='mine' is not known"),
        ({"embeddings": [1.0]}, TypeError, "embeddings="),
        ({"embeddings": torch.zeros(4)}, ValueError, r"embeddings=<Tensor of shape \(4,\)"),
        ({"embeddings": torch.ones(2, 7)}, ValueError, r"embeddings has shape \(2, 7\).*\(C, 4\)"),
        ({"embeddings": torch.eye(4)[:3] * torch.tensor([[1], [0], [1]])}, ValueError, "in row 1,"),
        ({"embeddings": torch.full((2, 4), torch.nan)}, ValueError, "no direction in row 0"),
        ({"masks": "all"}, TypeError, "masks='all'"),
        ({"masks": torch.rand(3, 8, 8)}, TypeError, "masks=.*expected a tensor"),
        ({"masks": torch.ones(2, 8, 8).bool()}, ValueError, "for 3 images"),
    ],
)
def test_what_does_not_go_together_is_said(arguments, error, message):
    with pytest.raises(error, match=message):
        ablation_cam(seeded(Columns()), "conv", images(), **arguments)


def test_checks_accept_what_they_should():
    check_task("auto", None)
    check_task("similarity", "own")
    check_embeddings(torch.ones(1, 4))
    check_masks(torch.zeros(2, 4, 4, dtype=torch.uint8), 2)
    assert Similarity(torch.eye(2)).has_rivals
    assert not Similarity(torch.eye(2)[:1]).has_rivals


# ---- several inputs ------------------------------------------------------------------------------


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.head = nn.Linear(6 + 2, 4)

    def forward(self, image, extra):
        return self.head(torch.cat([F.relu(self.conv(image)).mean((2, 3)), extra], dim=1))


class Bundle(TwoInputs):
    def forward(self, batch):
        return super().forward(batch["image"], batch["extra"])


class Bare(nn.Module):
    """The same with the second input fixed."""

    def __init__(self, inner, extra):
        super().__init__()
        self.inner, self.extra = inner, extra

    def forward(self, image):
        return self.inner(image, self.extra)


@ENGINES
@pytest.mark.parametrize("budget", [None, 1])
@pytest.mark.parametrize("form", ["dict", "tuple", "bundle"])
def test_inputs_of_several_tensors(engine, budget, form):
    x = images(4).double()
    extra = torch.rand(4, 2, generator=torch.Generator().manual_seed(3)).double()
    model = seeded(Bundle() if form == "bundle" else TwoInputs()).double()
    inputs = (x, extra) if form == "tuple" else {"image": x, "extra": extra}
    result = ablation_cam(model, "conv", inputs, 1, engine=engine, memory_budget=budget)
    plain = seeded(TwoInputs()).double()
    for row in range(4):
        bare = Bare(plain, extra[row : row + 1])
        reference = ablation_cam_reference(bare, "inner.conv", x[row : row + 1], [1])
        torch.testing.assert_close(
            result.drops[row : row + 1], reference.drops, rtol=1e-9, atol=1e-12
        )
    auto = ablation_cam(model, "auto", inputs, 1, engine=engine, ablation="mean")
    assert auto.layer.startswith("conv")
    assert auto.engine == engine


def test_tensors_that_carry_metadata_are_propagated():
    class Tagged(torch.Tensor):
        pass

    model, x = seeded(Columns()), images()
    tagged = ablation_cam(model, "conv", x.as_subclass(Tagged), 1)
    assert tagged.engine == "propagate"
    assert torch.equal(tagged.drops, ablation_cam(model, "conv", x, 1).drops)


class Captioned(nn.Module):
    """A vision tower and, after it, a text tower whose maps say nothing of the picture."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.words = nn.Embedding(9, 6)
        self.mix = nn.Linear(6, 6)
        self.text = nn.LayerNorm(6)

    def forward(self, pixel_values, captions):
        image = F.relu(self.conv(pixel_values)).mean((2, 3))
        text = self.text(self.mix(self.words(captions))).mean(1)
        return {"logits_per_image": image @ text.T, "text_embeds": text}


@ENGINES
def test_captions_beside_the_picture(engine):
    model, x = seeded(Captioned()).double(), images(4).double()
    captions = torch.randint(0, 9, (4, 16), generator=torch.Generator().manual_seed(0))
    fixed = ablation_cam(
        model, "auto", x, engine=engine, forward=lambda m, inputs: m(inputs, captions)
    )
    assert (fixed.layer, fixed.task) == ("conv:activation", "multiclass")
    text = model(x, captions)["text_embeds"].detach()
    torch.testing.assert_close(
        fixed.scores, model(x, captions)["logits_per_image"].amax(1).detach()
    )
    reference = ablation_cam(
        model,
        "conv:activation",
        x,
        fixed.classes,
        engine="replay",
        forward=lambda m, inputs: F.relu(m.conv(inputs)).mean((2, 3)) @ text.T,
    )
    torch.testing.assert_close(fixed.drops, reference.drops)


@pytest.mark.parametrize("labels", [[3, 0], [30, 41]])
@pytest.mark.parametrize(
    "options", [{"embeddings": "own"}, {"task": "regression"}], ids=["own", "regression"]
)
def test_labels_name_no_class_where_there_are_none(labels, options):
    columns = 1 if "task" in options else 5
    explainer = Explainer("conv", "label", Options(also=("rival", "label"), **options))
    probes = ProbeSet(images(2), labels)
    result = explainer.explain(seeded(Columns(columns)), probes)
    assert result.classes.tolist() == [0, 0]
    assert result.also == ()


def test_rivals_of_a_class_that_there_is_not():
    for options in ({"embeddings": torch.eye(5)[:2]}, {}):
        with pytest.raises(ValueError, match="classes contains 7"):
            ablation_cam(seeded(Columns(5)), "conv", images(2), 7, also=("rival",), **options)


def test_a_probe_with_fewer_labels_has_no_second_map():
    explainer = Explainer("conv", "label", Options(also=("rival",)))
    probes = ProbeSet(
        images(3), [[True, False, True, False], [False, True, False, False], [False] * 4]
    )
    result = explainer.explain(seeded(Columns()), probes)
    assert result.task == "multilabel"
    second, rival = result.also
    assert (second.role, rival.role) == ("label 2", "rival")
    assert second.classes.tolist() == [2, -1, -1]
    assert second.heatmaps[0].isfinite().all()
    assert second.heatmaps[1:].isnan().all()
    assert result.classes.tolist()[:2] == [0, 1]
    assert result.classes[2] == result.predicted[2]
    assert rival.classes[0] in (1, 3)


def test_pairs_of_images_and_captions_are_refused():
    x, captions = images(4), torch.randint(0, 9, (4, 16))
    with pytest.raises(ValueError, match=r"columns are the captions of the batch.*embeddings="):
        ablation_cam(seeded(Captioned()), "conv", {"pixel_values": x, "captions": captions})


@ENGINES
def test_places_may_have_several_classes(engine):
    model, x = seeded(Places()).double(), images().double()
    model.criterion = nn.BCEWithLogitsLoss()
    result = ablation_cam(model, "conv", x, 2, engine=engine, score="probability")
    output = model(x).detach()
    masks = [each if each.any() else torch.ones_like(each) for each in output[:, 2] > 0]
    inside = region_mean(masks)
    reference = ablation_cam_reference(
        model, "conv", x, [2] * 3, score=lambda output, c: inside(output.sigmoid(), c)
    )
    close(result, reference)
    assert torch.equal(result.regions, torch.stack(masks))
    torch.testing.assert_close(result.probabilities, result.scores)
    largest = (output > 0).double().mean((2, 3)).argmax(1)
    assert torch.equal(ablation_cam(model, "conv", x).classes, largest)


@pytest.mark.parametrize(
    ("loss", "columns", "labels", "task"),
    [
        (nn.MSELoss(), 4, [3, 0], "multiclass"),
        (nn.L1Loss(), 1, [1, 0], "binary"),
        (nn.MSELoss(), 1, [31, 40], "regression"),
        (nn.BCEWithLogitsLoss(), 4, [3, 0], "multiclass"),
        (nn.CrossEntropyLoss(), 4, [[1, 0, 0, 0], [0, 1, 0, 0]], "multiclass"),
        (None, 4, [[1, 0, 0, 0], [0, 1, 0, 0]], "multiclass"),
        (nn.BCEWithLogitsLoss(), 4, [[1, 0, 0, 0], [0, 1, 0, 0]], "multilabel"),
        (None, 4, [[1, 0, 0, 1], [0, 1, 0, 0]], "multilabel"),
    ],
)
def test_labels_count_more_than_a_loss(loss, columns, labels, task):
    model = seeded(Columns(columns))
    model.loss = loss
    result = Explainer("conv", "label", Options()).explain(model, ProbeSet(images(2), labels))
    assert result.task == task


def test_a_probe_with_all_labels_has_no_rival():
    probes = ProbeSet(images(2), [[1, 1, 1, 1], [1, 0, 0, 1]])
    result = Explainer("conv", "label", Options(also=("rival", "label 2"))).explain(
        seeded(Columns()), probes
    )
    assert [each.role for each in result.also] == ["label 2", "label 3", "label 4", "rival"]
    assert result.also[3].classes[0] == -1
    assert result.also[3].heatmaps[0].isnan().all()
    assert result.also[3].heatmaps[1].isfinite().all()


def test_what_is_predicted_is_explained_where_it_is_predicted():
    model, x = seeded(Places()), images(2)
    labels = torch.full((2, 8, 8), 3)
    predicted = Explainer("conv", "predicted", Options()).explain(model, ProbeSet(x, labels))
    plain = ablation_cam(model, "conv", x)
    assert torch.equal(predicted.classes, plain.classes)
    assert torch.equal(predicted.regions, plain.regions)
    given = Explainer("conv", "label", Options()).explain(model, ProbeSet(x, labels))
    assert given.classes.tolist() == [3, 3]


def test_a_thin_mask_is_not_lost():
    output, mask = torch.rand(1, 2, 4, 4), torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[0, 1] = True
    settled = Segmentation(mask).settled(output, torch.tensor([1]))
    assert settled.region[0].tolist() == [[True] * 4] + [[False] * 4] * 3
    infinite = output.masked_fill(~settled.region[:, None], -torch.inf)
    score = settled.logits(infinite, torch.tensor([1]))
    torch.testing.assert_close(score, output[:, 1, 0].mean(1))


def test_masks_that_say_nowhere_are_told_of():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, 2:4] = True
    with pytest.warns(UserWarning, match="nowhere of the class explained in 2 of 3 images"):
        ablation_cam(seeded(Places()), "conv", images(), 1, masks=masks)


@ENGINES
def test_an_output_after_a_sigmoid_is_read_as_one_by_both_engines(engine):
    model = nn.Sequential(seeded(Columns(1)), nn.Sigmoid())
    result = ablation_cam(model, "0.conv", images(6), engine=engine)
    assert torch.equal(result.classes, (model(images(6))[:, 0] > 0.5).long())
    places = nn.Sequential(seeded(Places(1)), nn.Sigmoid())
    result = ablation_cam(places, "0.conv", images(3), 1, engine=engine)
    assert torch.equal(result.regions, places(images(3))[:, 0] > 0.5)


def test_labels_of_places_rule_out_several_classes_there():
    output = torch.zeros(1, 3, 2, 2)
    maps = torch.zeros(1, 2, 2, dtype=torch.int64)
    assert Meaning(declared="multilabel").head(output, 1).several
    assert not Meaning(declared="multilabel", masks=maps).head(output, 1).several


def test_what_is_decided_is_remembered_for_one_output_only():
    head, output = Segmentation(), torch.rand(1, 3, 8, 8)
    head.predicted(output, 1)
    other = output.flip(1)
    first = torch.tensor([0])  # The middle one would be the same.
    again = head.settled(other, first).region
    assert torch.equal(again, Segmentation().settled(other, first).region)
