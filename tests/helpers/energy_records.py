"""Records of energy passes that went well, over a network that is small enough to be counted by hand."""

import torch
from closings import recorded
from tiny_spiking import Tiny
from torch import nn

from revbench.bench.cases import Case
from revbench.bench.energy.measure import inference_measurements, training_measurements
from revbench.bench.energy.training import TrainingWork
from revbench.bench.records import Measurement, Record

WORK = TrainingWork(forward_macs=80, recomputed_macs=20, input_gradient_macs=60, weight_gradient_macs=80)


def energy_records(case: Case, *, brightness: float = 1.0, accuracy: float = 0.9) -> list[Record]:
    """Of `Tiny`, which fires the more the brighter its pixel; 42 accumulations and 2 multiply-accumulates at 1."""
    network = Tiny()
    nn.init.constant_(network.mixer.weight, 10.0)
    learnt = [Measurement(metric="test_accuracy", value=accuracy, unit="1")]
    if case.checkpoint is None:
        learnt.append(Measurement(metric="num_epochs", value=8, unit="1"))
    counted = inference_measurements(network, torch.full((1, 1, 1, 1), brightness))
    return recorded(case, "energy", [*learnt, *counted, *training_measurements(WORK, 1)])
