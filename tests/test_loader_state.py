"""A loader that probes were taken from yields the same as one that was not read."""

from __future__ import annotations

import functools
import io
import itertools
import multiprocessing
import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from lightning_ablationcam import ProbeSet
from lightning_ablationcam.probes import loader_state


def picture(value):
    return torch.full((1, 2, 2), float(value))


def plain(count=12):
    return TensorDataset(torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, 1, 2, 2))


def seeded(seed=5):
    return torch.Generator().manual_seed(seed)


class Noisy(Dataset):
    """Adds noise from a generator of its own."""

    def __init__(self, generator, draw):
        self.generator, self.draw = generator, draw

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if not 0 <= index < 12:
            raise IndexError(index)
        return picture(index + self.draw(self.generator))


def noise_of(generator):
    return torch.rand((), generator=generator)


def numpy_noise():
    return Noisy(np.random.default_rng(5), lambda generator: generator.random())


class Transform:
    def __init__(self, generator):
        self.generator = generator

    def __call__(self, image):
        return image + self.generator.random()


class Transformed(Noisy):
    """Draws in the transforms it is given."""

    def __init__(self, *transforms):
        self.transforms = transforms

    def __getitem__(self, index):
        image = picture(index)
        for transform in self.transforms:
            image = transform(image)
        return image


def closure(generator):
    return lambda image: image + generator.random_sample()


class EveryThird(Sampler):
    """Starts each iteration where the last one stopped."""

    def __init__(self):
        self.position, self.seen = 0, []

    def __iter__(self):
        for _ in range(6):
            self.position = (self.position + 3) % 12
            self.seen.append(self.position)
            yield self.position

    def __len__(self):
        return 6


class Stream(IterableDataset):
    """Shuffles with its own generator, counts its epochs and goes on where it stopped."""

    def __init__(self):
        self.random, self.epoch, self.buffer = random.Random(5), 0, [1.0, 2.0, 3.0]

    def __iter__(self):
        self.epoch += 1
        for step in range(12):
            self.buffer.append(100 * self.epoch + step)
            yield picture(self.buffer.pop(self.random.randrange(len(self.buffer))))


class Resuming(IterableDataset):
    """Is its own iterator."""

    def __init__(self):
        self.position = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.position += 1
        if self.position % 20 == 0:
            raise StopIteration
        return picture(self.position)


class Seats:
    """Neither a Dataset nor a DataLoader: an iterable of batches with slots and a bit generator."""

    __slots__ = ("generator",)

    def __init__(self):
        self.generator = np.random.Generator(np.random.MT19937(5))

    def __iter__(self):
        return (torch.full((2, 1, 2, 2), self.generator.random()) for _ in range(5))


class Several:
    """Hands on the batches of loaders it holds, as Lightning's CombinedLoader does."""

    def __init__(self, *loaders):
        self.loaders = {str(index): loader for index, loader in enumerate(loaders)}

    def __iter__(self):
        return itertools.chain.from_iterable(self.loaders.values())


def counting(count):
    """A dataset whose items are lighter each time that one is read."""
    return DataLoader(Noisy(None, lambda _: count()), 2)


class Counts:
    """An object that holds a number, a tensor, an array and a list in a dict."""

    def __init__(self):
        self.number, self.tensor, self.array = 0, torch.zeros(()), np.zeros(2)
        self.nested = {"lists": [[0]]}

    def __call__(self):
        self.number += 1
        self.tensor += 1
        self.array[1] += 1
        self.nested["lists"][0].append(1)
        return float(self.number + self.tensor + self.array[1] + len(self.nested["lists"][0]))


def in_closures():
    numbers, tensor = [0], torch.zeros(())

    def count():
        numbers[0] += 1
        tensor.add_(1)
        return float(numbers[0] + tensor)

    return counting(count)


def open_file():
    file = io.StringIO("".join(f"{line}\n" for line in range(999)))
    return counting(lambda: float(file.readline()))


KINDS = {
    "object that counts": lambda: counting(Counts()),
    "closures that count": in_closures,
    "open file": open_file,
    "loader.generator": lambda: DataLoader(plain(), 2, shuffle=True, generator=seeded()),
    "global generator": lambda: DataLoader(plain(), 2, shuffle=True),
    "RandomSampler": lambda: DataLoader(
        plain(), 2, sampler=RandomSampler(plain(), generator=seeded())
    ),
    "BatchSampler(RandomSampler)": lambda: DataLoader(
        plain(), batch_sampler=BatchSampler(RandomSampler(plain(), generator=seeded()), 2, False)
    ),
    "BatchSampler(BatchSampler(RandomSampler))": lambda: DataLoader(
        plain(),
        batch_size=None,
        sampler=BatchSampler(
            Several(RandomSampler(plain(), generator=seeded())), 2, drop_last=False
        ),
        collate_fn=lambda batch: batch[0],
    ),
    "WeightedRandomSampler": lambda: DataLoader(
        plain(), 2, sampler=WeightedRandomSampler([1.0] * 12, 12, generator=seeded())
    ),
    "sampler with a position": lambda: DataLoader(plain(), 2, sampler=EveryThird()),
    "dataset with a numpy Generator": lambda: DataLoader(numpy_noise(), 2),
    "dataset with a RandomState": lambda: DataLoader(
        Noisy(np.random.RandomState(5), lambda generator: generator.random_sample()), 2
    ),
    "dataset with a random.Random": lambda: DataLoader(
        Noisy(random.Random(5), lambda generator: generator.random()), 2
    ),
    "torch.Generator in nested Subset": lambda: DataLoader(
        Subset(Subset(Noisy(seeded(), noise_of), range(10)), range(2, 9)), 2
    ),
    "ConcatDataset": lambda: DataLoader(
        ConcatDataset([Subset(numpy_noise(), [3, 4]), Noisy(seeded(), noise_of), numpy_noise()]),
        2,
        shuffle=True,
    ),
    "transforms": lambda: DataLoader(
        Transformed(
            Transform(random.Random(1)),
            torch.nn.Sequential(torch.nn.Identity()),
            closure(np.random.RandomState(2)),
            functools.partial(torch.add, other=0),
            Transform(np.random.default_rng(3)).__call__,
        ),
        2,
    ),
    "collate_fn": lambda: DataLoader(
        plain(),
        2,
        collate_fn=functools.partial(
            lambda batch, generator: (
                torch.stack([image for (image,) in batch]) + torch.rand((), generator=generator)
            ),
            generator=seeded(),
        ),
    ),
    "IterableDataset": lambda: DataLoader(Stream(), 2),
    "IterableDataset that is an iterator": lambda: DataLoader(Resuming(), 2),
    "any iterable": Seats,
    "loaders in an iterable": lambda: Several(
        DataLoader(plain(), 2, shuffle=True, generator=seeded()), DataLoader(numpy_noise(), 2)
    ),
    "list of batches": lambda: [torch.rand(2, 1, 2, 2, generator=seeded(7))] * 3,
}


def drawn(loader, epochs=2):
    """What a loader yields from here on, in numbers."""
    batches = [batch for _ in range(epochs) for batch in loader]
    images = torch.cat(
        [batch if isinstance(batch, torch.Tensor) else batch[0] for batch in batches]
    )
    return images.reshape(len(images), -1)[:, 0].tolist()


def read(loader, before, n):
    """What a loader yields in two epochs, ``before`` of them before probes are taken."""
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    first = drawn(loader, before) if before else []
    probes = None if n is None else ProbeSet.from_dataloader(loader, n=n)
    return first + drawn(loader), probes


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_loader_goes_on_as_if_it_had_not_been_read(kind, before):
    expected, _ = read(KINDS[kind](), before, None)
    for n in (3, 100):
        found, probes = read(KINDS[kind](), before, n)
        assert found == expected
        if not before:
            taken = probes.inputs[:, 0, 0, 0].tolist()
            assert taken[:n] == expected[: len(taken)]


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("make", [numpy_noise, Stream], ids=["map", "iterable"])
def test_workers_go_on_as_if_they_had_not_been_asked(make, before, persistent):
    def loader():
        shuffle = {} if make is Stream else {"shuffle": True, "generator": seeded()}
        return DataLoader(make(), 2, num_workers=2, persistent_workers=persistent, **shuffle)

    expected, _ = read(loader(), before, None)
    watched = loader()
    found, probes = read(watched, before, 3)
    assert found == expected
    assert len(probes) == 3
    assert (watched._iterator is not None) == persistent


def test_workers_are_gone_when_the_probes_are_there():
    loader = DataLoader(plain(), 2, num_workers=2, persistent_workers=True)
    ProbeSet.from_dataloader(loader, n=1)
    assert multiprocessing.active_children() == []
    with pytest.raises(TypeError, match=r"loader.*images cannot be found"):
        ProbeSet.from_dataloader(DataLoader(["ab", "cd"], 1, num_workers=2))
    assert multiprocessing.active_children() == []
    assert (loader._iterator, loader.persistent_workers) == (None, True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter([torch.rand(2, 1, 2, 2)]),
        lambda: (torch.rand(2, 1, 2, 2) for _ in range(3)),
        lambda: iter(DataLoader(plain(), 2)),
        lambda: map(torch.zeros, [(2, 1, 2, 2)]),
        Resuming,
    ],
)
def test_an_iterator_is_refused_before_anything_is_read_of_it(make):
    with pytest.raises(TypeError, match=r"loader=.* is an iterator.*a DataLoader or a list"):
        ProbeSet.from_dataloader(make())
    kept = iter([torch.rand(2, 1, 2, 2)])
    with pytest.raises(TypeError, match="loader"):
        ProbeSet.from_dataloader(kept)
    assert len(list(kept)) == 1


class Source(IterableDataset):
    def __init__(self, source):
        self.parts = {"inner": [source]}

    def __iter__(self):
        return iter(self.parts["inner"][0])


@pytest.mark.parametrize(
    "source", [map(picture, range(9)), (picture(value) for value in range(9))], ids=["map", "gen"]
)
def test_an_iterator_inside_that_cannot_be_given_back_is_named(source):
    loader = DataLoader(Source(source), 2)
    named = rf"loader.dataset.parts\['inner'\]\[0\], a {type(source).__name__}"
    with pytest.warns(UserWarning, match=named):
        ProbeSet.from_dataloader(loader, n=2)


def test_what_is_too_large_to_be_copied_is_named(monkeypatch):
    monkeypatch.setattr(loader_state, "MAX_BYTES", 0)
    with pytest.warns(UserWarning, match=r"loader.dataset.draw.count.tensor, a Tensor"):
        ProbeSet.from_dataloader(counting(Counts()), n=2)


def test_a_file_whose_position_is_not_known_is_named(tmp_path):
    (tmp_path / "lines").write_text("0\n" * 99)
    with (tmp_path / "lines").open() as file:
        next(file)  # A text file that is iterated does not tell.
        with pytest.warns(UserWarning, match=r"a TextIOWrapper, cannot be put back"):
            ProbeSet.from_dataloader(counting(lambda: float(next(file))), n=2)


class Shards(IterableDataset):
    """Closes one file for the next; going back would leave it with a closed one."""

    def __init__(self):
        self.opened, self.position = File(), 0

    def __iter__(self):
        for _ in range(4):
            self.opened.open = False
            self.opened = File()
            self.position += 1
            yield picture(self.position)


class File:
    open = True


def test_an_attribute_that_was_replaced_is_left_and_named():
    data = Shards()
    with pytest.warns(UserWarning, match=r"loader.dataset, a Shards"):
        ProbeSet.from_dataloader(DataLoader(data, 2), n=2)
    assert data.opened.open
    assert data.position == 2


class Lazy(Noisy):
    """Opens its file when it is first read, and keeps what it read."""

    def __init__(self):
        self.file, self.cache = None, {}

    def __getitem__(self, index):
        self.file = self.file or File()
        return self.cache.setdefault(index, picture(index))


def test_what_a_dataset_makes_when_first_read_is_made_again():
    data = Lazy()
    ProbeSet.from_dataloader(DataLoader(data, 2), n=2)
    assert (data.file, data.cache) == (None, {})


def test_other_machinery_is_left_alone():
    """Threads, locks and queues cannot be put back by their attributes."""

    class Served(Noisy):
        def __init__(self):
            self.lock = multiprocessing.get_context().Lock()
            self.served = 0

        def __getitem__(self, index):
            with self.lock:
                self.served += 1
            return picture(index)

    data = Served()
    ProbeSet.from_dataloader(DataLoader(data, 2), n=2)
    assert data.served == 0


def test_it_is_given_back_when_reading_fails():
    class Failing(Noisy):
        def __getitem__(self, index):
            image = super().__getitem__(index)
            if index > 2:
                raise OSError("disk")
            return image

    def loader():
        return DataLoader(Failing(np.random.default_rng(5), lambda g: g.random()), 2)

    expected = next(iter(loader()))
    failing = loader()
    with pytest.raises(OSError, match="disk"):
        ProbeSet.from_dataloader(failing, n=9)
    assert torch.equal(next(iter(failing)), expected)


@pytest.mark.parametrize("kind", [k for k in KINDS if "dataset with" in k or "nested" in k])
def test_from_dataset_leaves_the_datasets_generators(kind):
    expected, _ = read(KINDS[kind](), 0, None)
    loader = KINDS[kind]()
    ProbeSet.from_dataset(loader.dataset, n=3)
    assert read(loader, 0, None)[0] == expected
    ProbeSet.from_dataset(loader.dataset, indices=[1, 2])
