from __future__ import annotations

from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.compat.proto import summary_pb2
from tensorboard.util import tensor_util

from lightning_ablationcam.outputs.tensorboard import tensorboard
from lightning_ablationcam.records.format import (
    decode_heat,
    decode_probes,
    encode_heat,
    encode_probes,
)
from tests.tab_events import heat, probes


def test_records_are_read_back_as_written(tmp_path):
    logger = TensorBoardLogger(tmp_path)
    board = tensorboard(logger, "mine/cam")
    board.write_record("/probes", encode_probes(probes()), 0)
    for step in (0, 10):
        board.write_record("/heat", encode_heat(heat(step)), step)
    board.flush()
    events = EventAccumulator(logger.log_dir, tensor_size_guidance={"ablation_cam": 0}).Reload()

    def read(tag, decode):
        found = events.Tensors(tag)
        return [(e.step, decode(tensor_util.make_ndarray(e.tensor_proto).tolist())) for e in found]

    assert read("mine/cam/probes", decode_probes) == [(0, probes())]
    assert read("mine/cam/heat", decode_heat) == [(0, heat(0)), (10, heat(10))]
    for tag in ("mine/cam/probes", "mine/cam/heat"):
        metadata = events.SummaryMetadata(tag)
        assert metadata.plugin_data.plugin_name == "ablation_cam"
        assert metadata.data_class == summary_pb2.DATA_CLASS_TENSOR
