"""One row a case: what tables, figures and sentences share."""

from dataclasses import dataclass, field

from revbench.bench.analysis.energy_details import EnergyDetails
from revbench.bench.cases import Case
from revbench.bench.records import PassName, Record, Status
from revbench.bench.similarity.metric import KEPT, SimilarityMetric

NOT_MEASURED = "not measured"
REVERSIBILITY_METRICS = tuple(
    prefix + metric
    for prefix in ("", "unprotected_")
    for metric in ("reconstruction_error", "flipped_spike_share", "gradient_cosine", "gradient_error")
)
ENERGY_METRICS = (
    *("dense_macs", "sops", "acs", "macs", "firing_rate"),
    *("input_rate", "operations_break_even_rate", "break_even_rate"),
    *("on_chip_break_even_rate", "sram_dram_break_even_rate", "no_reuse_break_even_rate"),
    *("literature_energy_j", "operations_energy_j", "with_neurons_energy_j", "lowest_energy_j", "highest_energy_j"),
    *("dense_energy_j", "quantised_energy_j", "quantised_spiking_energy_j", "training_macs", "recomputed_macs"),
)
JOULES_METRICS = tuple(
    f"{work}_{kind}_j{margin}"
    for work in ("training", "inference")
    for kind, margin in (("net", ""), ("net", "_margin"), ("gross", ""))
)
SIMILARITY_METRICS = tuple(f"similarity_{kept}" for kept in KEPT)
WORST_FIRST: tuple[Status, ...] = ("error", "timeout", "oom", "unsupported", "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """What is known of one case; None wherever nothing was measured.

    Attributes:
        case: the case.
        closings: the closing record of each pass that was finished, failed or not.
        num_layers: layers with weights, as papers count them.
        num_blocks: blocks of all stages together.
        num_parameters: trained scalars.
        peak_bytes: traced peak of a whole training step.
        activation_peak_bytes: largest sum of neuron state, saved tensors, recomputation and temporaries at any instant.
        forward_end_activation_bytes: the same sum when the forward ends.
        cuda_requested_bytes: peak that was asked of the CUDA allocator.
        cuda_allocated_bytes: peak that the CUDA allocator gave out, rounded to its blocks.
        cuda_reserved_bytes: peak that the CUDA allocator held.
        process_bytes: what NVML saw the process hold.
        step_s: median time of a training step.
        step_spread_s: interquartile range of that time.
        images_per_s: images trained in a second.
        inference_s: median time of an inference of the batch.
        inference_spread_s: interquartile range of that time.
        inference_images_per_s: images inferred in a second.
        recomputation_share: share of the step that recomputation takes: by how much the step with stored activations is
            shorter; of recomputing cases where both were timed.
        epoch_images: images of an epoch of the data set that the suite stands for.
        reconstruction_error: largest relative distance of a restored stream from the original.
        flipped_spike_share: spikes that came out otherwise when they were recomputed.
        gradient_cosine: cosine of the gradient to that of plain autograd.
        gradient_error: relative distance of the gradient from that of plain autograd.
        unprotected_reconstruction_error: the same with streams in half precision, or inversion without a guard.
        unprotected_flipped_spike_share: likewise.
        unprotected_gradient_cosine: likewise.
        unprotected_gradient_error: likewise.
        test_accuracy: share of test digits that are classified correctly at the end of training.
        train_s: seconds of training.
        similarity_stage_ends: cosine to the full gradient, at the end of training, of the gradient with temporal
            gradients at the stage ends alone.
        similarity_elsewhere: likewise, with temporal gradients everywhere but there.
        similarity_nowhere: likewise, without temporal gradients.
        similarities: all such cosines, before training and after each epoch, of all parameters and of each layer.
        dense_macs: multiply-accumulates of an inference, if nothing was skipped; this and all below of one image.
        unskipped_energy_j: of the arithmetic of that at 45 nm, by the operations pass: an upper bound for it.
        sops: synaptic operations of spikes and levels, each non-zero input times its true fan-out.
        acs: accumulations, of an input of level k as many as k.
        macs: multiply-accumulates of real inputs that are not zero.
        firing_rate: spikes a neuron and timestep.
        input_rate: accumulations for each dense multiply-accumulate of the layers that add.
        operations_break_even_rate: input rate at which a quantised network takes as much, operations alone; negative
            where it always takes less.
        break_even_rate: the same with neurons and what is done element by element.
        on_chip_break_even_rate: the same with the bits that both move, all memory on chip.
        sram_dram_break_even_rate: likewise, weights from DRAM.
        no_reuse_break_even_rate: likewise, everything from DRAM.
        literature_energy_j: by the papers' formula, for comparison only.
        operations_energy_j: accumulations and multiply-accumulates.
        with_neurons_energy_j: these, neuron updates, and everything element by element.
        lowest_energy_j: of the band over memory hierarchies.
        highest_energy_j: likewise.
        dense_energy_j: the same layers once, without time, skipping nothing.
        quantised_energy_j: likewise, with activations of as many bits as T spikes tell apart.
        quantised_spiking_energy_j: the spiking network beside that one, in integers.
        training_macs: dense multiply-accumulates of a training step.
        recomputed_macs: those of them that the backward pass evaluates once more.
        energy: the firing rates, the parts of the energies under all cost models, and what is remarkable about them.
        training_net_j: measured joules of training, of one image, without what the idle device takes.
        training_net_j_margin: half of the 95 % confidence interval of that.
        training_gross_j: the same with what the idle device takes.
        inference_net_j: likewise of inference.
        inference_net_j_margin: likewise.
        inference_gross_j: likewise.
    """

    case: Case
    closings: tuple[Record, ...] = ()
    num_layers: int | None = None
    num_blocks: int | None = None
    num_parameters: int | None = None
    peak_bytes: int | None = None
    activation_peak_bytes: int | None = None
    forward_end_activation_bytes: int | None = None
    cuda_requested_bytes: int | None = None
    cuda_allocated_bytes: int | None = None
    cuda_reserved_bytes: int | None = None
    process_bytes: int | None = None
    step_s: float | None = None
    step_spread_s: float | None = None
    images_per_s: float | None = None
    inference_s: float | None = None
    inference_spread_s: float | None = None
    inference_images_per_s: float | None = None
    recomputation_share: float | None = None
    epoch_images: int | None = None
    reconstruction_error: float | None = None
    flipped_spike_share: float | None = None
    gradient_cosine: float | None = None
    gradient_error: float | None = None
    unprotected_reconstruction_error: float | None = None
    unprotected_flipped_spike_share: float | None = None
    unprotected_gradient_cosine: float | None = None
    unprotected_gradient_error: float | None = None
    test_accuracy: float | None = None
    train_s: float | None = None
    similarity_stage_ends: float | None = None
    similarity_elsewhere: float | None = None
    similarity_nowhere: float | None = None
    similarities: tuple[tuple[SimilarityMetric, float | None], ...] = ()
    dense_macs: float | None = None
    unskipped_energy_j: float | None = None
    sops: float | None = None
    acs: float | None = None
    macs: float | None = None
    firing_rate: float | None = None
    input_rate: float | None = None
    operations_break_even_rate: float | None = None
    break_even_rate: float | None = None
    on_chip_break_even_rate: float | None = None
    sram_dram_break_even_rate: float | None = None
    no_reuse_break_even_rate: float | None = None
    literature_energy_j: float | None = None
    operations_energy_j: float | None = None
    with_neurons_energy_j: float | None = None
    lowest_energy_j: float | None = None
    highest_energy_j: float | None = None
    dense_energy_j: float | None = None
    quantised_energy_j: float | None = None
    quantised_spiking_energy_j: float | None = None
    training_macs: float | None = None
    recomputed_macs: float | None = None
    energy: EnergyDetails = field(default_factory=EnergyDetails)
    training_net_j: float | None = None
    training_net_j_margin: float | None = None
    training_gross_j: float | None = None
    inference_net_j: float | None = None
    inference_net_j_margin: float | None = None
    inference_gross_j: float | None = None

    @property
    def peak_bytes_per_image(self) -> float | None:
        """Traced peak of a whole training step, shared among the images of the batch."""
        return self._per_image(self.peak_bytes)

    @property
    def activation_peak_bytes_per_image(self) -> float | None:
        """What one image of the batch costs beyond the model, at the worst instant."""
        return self._per_image(self.activation_peak_bytes)

    @property
    def forward_end_activation_bytes_per_image(self) -> float | None:
        """What one image of the batch costs beyond the model when the forward ends."""
        return self._per_image(self.forward_end_activation_bytes)

    @property
    def extrapolated_epoch_s(self) -> float | None:
        """Seconds of an epoch at this throughput: of steps alone, without loading, evaluation, or other devices."""
        if self.epoch_images is None or self.images_per_s is None:
            return None
        return self.epoch_images / self.images_per_s

    @property
    def status(self) -> str:
        """The worst of the passes: `ok`, or pass and status of a failure (`memory: oom`)."""
        worst = self._worst()
        if worst is None:
            return NOT_MEASURED
        return "ok" if worst.status == "ok" else f"{worst.pass_name}: {worst.status}"

    @property
    def detail(self) -> str:
        """One line on the worst of the passes."""
        worst = self._worst()
        return "" if worst is None else worst.detail

    def pass_status(self, pass_name: PassName) -> str:
        """The status of one pass, or `not measured`."""
        return next((closing.status for closing in self.closings if closing.pass_name == pass_name), NOT_MEASURED)

    def failed(self, pass_name: PassName) -> bool:
        """Whether the pass was run and gave no number."""
        return self.pass_status(pass_name) not in ("ok", NOT_MEASURED)

    def _worst(self) -> Record | None:
        return min(self.closings, key=lambda closing: WORST_FIRST.index(closing.status), default=None)

    def _per_image(self, num_bytes: int | None) -> float | None:
        return None if num_bytes is None else num_bytes / self.case.batch_size
