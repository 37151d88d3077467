"""What kind of value each argument of the allowed Keras classes takes. Pure.

An argument's name decides nearly always: Keras calls the same thing by the same name. Where one class, or one kind of
class, differs, the exception stands in `CLASS_ARGUMENTS` or `KIND_ARGUMENTS`.
"""

import re

from shared.allowlist.values import (
    DIM_MOST,
    Either,
    Fields,
    FileName,
    Flag,
    Many,
    Nested,
    Nothing,
    Off,
    Real,
    Ref,
    Shape,
    Text,
    Value,
    Whole,
    Word,
    maybe,
    sizes,
)

#: What numbers without a natural bound may reach.
_NUMBER_MOST = 1e12
#: The largest whole number that JSON's readers agree on.
_COUNT_MOST = 2**53

_FLAG = Flag()
_NULL = Nothing()
_NUMBER = Real(-_NUMBER_MOST, _NUMBER_MOST)
_POSITIVE = Real(0, _NUMBER_MOST)
_FRACTION = Real(0, 1)
_SIZE = Whole(1, DIM_MOST)
_COUNT = Whole(0, _COUNT_MOST)
_AXIS = Whole(-8, 8)
_AXES = Either(_AXIS, Many(_AXIS, 8))
_RANGE = Either(_NUMBER, Many(_NUMBER, 2, 2))
_WORD_OF_PADDING = Word(("valid", "same"))

#: Names of layers, models, metrics and so on. Keras refuses `/` in them too.
NAME = Text(
    re.compile(r"(?!.*\.\.)[A-Za-z0-9_.-]{0,63}[A-Za-z0-9_-]"),
    "a name of 1 to 64 letters, digits, '_', '.' or '-' (no '..', not ending in '.')",
)
#: What a callback watches: `val_loss`, `val_output_accuracy`.
_MONITOR = Text(re.compile(r"[A-Za-z0-9_.@-]{1,128}"), "a metric's name, such as 'val_loss'")
_EQUATION = Text(
    re.compile(r"[a-zA-Z.]{1,24}(?:,[a-zA-Z.]{1,24}){1,3}->[a-zA-Z.]{0,24}"), "an einsum equation such as 'ab,bc->ac'"
)
#: Data types that numbers may have.
DTYPES = (
    *("float32", "float16", "bfloat16", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"),
)
#: Data types and the mixed policies.
POLICIES = (*DTYPES, "mixed_float16", "mixed_bfloat16")

#: A data type or a policy, by name or as Keras writes it.
DTYPE = Ref("policies", plain=Word(POLICIES))
_LAYER = Ref("layers", null=False)
_CELLS = frozenset({"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"})

#: The end of a name that decides alone.
_SUFFIXES: dict[str, Ref] = {
    "_initializer": Ref("initializers"),
    "_regularizer": Ref("regularizers"),
    "_constraint": Ref("constraints"),
}

_FLAGS = (
    "all_ops amsgrad antialias apply_class_balancing center centered crop_to_aspect_ratio cycle exclude_embeddings "
    "expand_dims from_logits from_sorted_ids go_backwards invert keepdims mask_zero multi_label nesterov normalize "
    "optional pad_to_aspect_ratio periodic power_to_db raise_error relative_step remove_diagonal renorm reset_after "
    "restore_best_weights return_sequences return_state rms_scaling scale sparse sparse_y_pred sparse_y_true staircase "
    "synchronized tie_weights trainable unit_forget_bias unroll use_bias use_ema use_gate use_scale "
    "zero_output_for_mask"
)
_FRACTIONS = (
    "adam_beta_1 adam_beta_2 beta_1 beta_2 dropout ema_momentum label_smoothing precision q rate "
    "recall recurrent_dropout renorm_momentum rho sensitivity specificity"
)
_POSITIVES = (
    "adam_weight_decay clip_limit clip_threshold decay_rate delta epsilon epsilon_1 epsilon_2 "
    "initial_accumulator_value initial_scale l1 l1_regularization_strength l2 l2_regularization_strength "
    "l2_shrinkage_regularization_strength mag_exp max_value min_delta min_freq min_lr min_power ref_power stddev"
)
_NUMBERS = (
    "adam_lr_ratio alpha beta beta_2_decay end_learning_rate gain gamma learning_rate_power m_mul margin mask_value "
    "maxval mean min_value minval momentum muon_a muon_b muon_c negative_slope offset power rms_rate sampling_rate "
    "t_mul threshold top_db value"
)
_MAYBE_POSITIVES = "clipnorm clipvalue global_clipnorm logit_soft_cap loss_scale_factor max_freq weight_decay"
_SIZES = (
    "fft_length frame_length head_dim height key_dim max_number n num_heads num_key_value_heads num_mel_bins "
    "num_query_heads num_tokens output_dim sequence_stride units width"
)
_MAYBE_SIZES = "batch_size frame_step lora_rank num_bins sequence_length sliding_window value_dim"
_COUNTS = "cooldown patience start_from_epoch warmup_steps"
_RANGES = "addition_factor factor height_factor sigma threshold_factor value_range x_factor y_factor"
_MAYBE_RANGES = "brightness_factor contrast_factor hue_factor saturation_factor width_factor"
_NULLS = "gptq_unpacked_column_size input_tensor quantization_config weights"


def _each(names: str, value: Value) -> dict[str, Value | Ref]:
    return dict.fromkeys(names.split(), value)


#: The kind of value of an argument, by its name alone.
ARGUMENTS: dict[str, Value | Ref] = {
    **_each(_FLAGS, _FLAG),
    **_each(_FRACTIONS, _FRACTION),
    **_each(_POSITIVES, _POSITIVE),
    **_each(_NUMBERS, _NUMBER),
    **_each(_MAYBE_POSITIVES, maybe(_POSITIVE)),
    **_each(_SIZES, _SIZE),
    **_each(_MAYBE_SIZES, maybe(_SIZE)),
    **_each(_COUNTS, _COUNT),
    **_each(_RANGES, _RANGE),
    **_each(_MAYBE_RANGES, maybe(_RANGE)),
    **_each(_NULLS, _NULL),
    "activation": Ref("activations"),
    "attention_axes": maybe(_AXES),
    "axes": _AXES,
    "axis": _AXES,
    "backward_layer": Ref("layers"),
    "batch_shape": maybe(Shape(least=1)),
    "bias_axes": maybe(Text(re.compile("[a-zA-Z]{1,8}"), "letters of the equation's output")),
    "bin_boundaries": maybe(Many(_NUMBER, DIM_MOST)),
    "bins": Whole(2, DIM_MOST),
    "boundaries": Many(_NUMBER, 1000),
    "cell": Ref("layers", null=False, only=_CELLS),
    "cells": Ref("layers", null=False, many=True, only=_CELLS),
    "chain_depth": Whole(-1, 16),
    "cropping": Nested(Whole(0, DIM_MOST), 2),
    "data_format": maybe(Word(("channels_last", "channels_first"))),
    "decay_steps": Real(0, _NUMBER_MOST, above=True),
    "depth_multiplier": Whole(1, 1024),
    "dilation_rate": sizes(1, 1024),
    "dims": Many(Whole(1, 8), 8),
    "dtype": DTYPE,
    "dynamic_growth_steps": Whole(1, _COUNT_MOST),
    "ema_overwrite_frequency": maybe(Whole(1, _COUNT_MOST)),
    "equation": _EQUATION,
    "exclude_layers": maybe(Many(NAME, 512, 0)),
    "fill_mode": Word(("reflect", "constant", "wrap", "nearest")),
    "fill_value": maybe(Nested(_NUMBER, 1)),
    "filters": Whole(1, DIM_MOST),
    "first_decay_steps": Real(0, _NUMBER_MOST, above=True),
    "flash_attention": maybe(_FLAG),
    "gradient_accumulation_steps": maybe(Whole(2, _COUNT_MOST)),
    "groups": Whole(1, 8192),
    "initial_learning_rate": _POSITIVE,
    "inner_optimizer": Ref("optimizers", null=False),
    "input_dim": Whole(1, 5_000_000),
    "interpolation": Word(("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5")),
    "kernel_size": sizes(1, 1024),
    "layer": _LAYER,
    "layers": Ref("layers", null=False, many=True),
    "learning_rate": Ref("schedules", null=False, plain=Real(0, 1e6)),
    "lora_alpha": maybe(_POSITIVE),
    "merge_mode": maybe(Word(("concat", "sum", "mul", "ave"))),
    "monitor": _MONITOR,
    "name": maybe(NAME),
    "noise_shape": maybe(Many(maybe(_SIZE), 8)),
    "ns_steps": Whole(0, 100),
    "num_chains": Whole(1, 16),
    "num_ops": Whole(0, 32),
    "output_mode": Word(("int", "one_hot", "multi_hot", "count", "tf_idf")),
    "output_padding": maybe(sizes(0, 1024)),
    "output_shape": maybe(Either(_SIZE, Shape())),
    "output_size": sizes(1, DIM_MOST),
    "padding": _WORD_OF_PADDING,
    "pool_size": sizes(1, 1024),
    "power_iterations": Whole(1, 100),
    "ragged": maybe(_FLAG),
    "recurrent_activation": Ref("activations"),
    "renorm_clipping": maybe(Fields(("rmin", "rmax", "dmax"), _POSITIVE)),
    "reverse_dtype": DTYPE,
    "sampling_rate": Whole(1, 10_000_000),
    "scaling": maybe(Word(("density", "spectrum"))),
    "score_mode": Word(("dot", "concat")),
    "seed": Ref("generators", plain=_COUNT),
    "shape": maybe(Shape()),
    "shared_axes": maybe(_AXES),
    "size": sizes(1, 1024),
    "stateful": Off(
        "false: jobs are trained in shuffled batches and resumed, where state between batches has no meaning"
    ),
    "strides": sizes(1, 1024),
    "target_shape": Either(Whole(-1, DIM_MOST), Shape(free=True)),
    "tile_grid_size": Many(Whole(1, 1024), 2, 2),
    "use_cudnn": Either(_FLAG, Word(("auto",))),
    "values": Many(_POSITIVE, 1001),
    "verbose": Either(_FLAG, Whole(0, 2)),
    "warmup_target": maybe(_POSITIVE),
    "window": maybe(Word(("hann", "hamming"))),
}

_LAYER_KIND: dict[str, Value | Ref] = {"sparse": maybe(_FLAG)}

_LOSS: dict[str, Value | Ref] = {
    "axis": maybe(_AXES),
    "ignore_class": maybe(Whole(-_COUNT_MOST, _COUNT_MOST)),
    "reduction": maybe(Word(("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none"))),
}

_METRIC: dict[str, Value | Ref] = {
    "average": maybe(Word(("micro", "macro", "weighted"))),
    "class_aggregation": maybe(Word(("uniform_average", "variance_weighted_average"))),
    "class_id": maybe(_COUNT),
    "curve": Word(("ROC", "PR", "PRGAIN")),
    "ignore_class": maybe(Whole(-_COUNT_MOST, _COUNT_MOST)),
    "k": _SIZE,
    "label_weights": maybe(Many(_POSITIVE, DIM_MOST)),
    # A confusion matrix holds the square of it.
    "num_classes": Whole(1, 4096),
    "num_labels": maybe(_SIZE),
    "num_regressors": _COUNT,
    "num_thresholds": Whole(2, 100_000),
    "summation_method": Word(("interpolation", "minoring", "majoring")),
    "target_class_ids": Many(Whole(0, 4095), 4096),
    "threshold": maybe(_FRACTION),
    "thresholds": maybe(Either(_FRACTION, Many(_FRACTION, 100_000))),
    "top_k": maybe(_SIZE),
}

_INITIALIZER: dict[str, Value | Ref] = {
    "distribution": Word(("truncated_normal", "untruncated_normal", "normal", "uniform")),
    "input_axes": maybe(_AXES),
    "mode": Word(("fan_in", "fan_out", "fan_avg")),
    "output_axes": maybe(_AXES),
    "scale": Real(0, _NUMBER_MOST, above=True),
    "side": Word(("real", "imag")),
    "value": Nested(_NUMBER, 4),
}

_CALLBACK: dict[str, Value | Ref] = {
    "append": _FLAG,
    "baseline": maybe(_NUMBER),
    "embeddings_freq": Off("0: embeddings are weights, which the job's checkpoints hold", 0),
    "embeddings_metadata": _NULL,
    "factor": Real(0, 1, below=True),
    "filename": FileName(),
    "filepath": FileName(template=True),
    "histogram_freq": _COUNT,
    "initial_value_threshold": maybe(_NUMBER),
    "log_dir": FileName(most=100),
    "mode": Word(("auto", "min", "max")),
    "profile_batch": Off("0: profile the script by hand", 0),
    # The job spec's size is the bound: a rate takes two bytes at least.
    "rates": Many(Real(0, 1e6), 1_000_000),
    "save_best_only": _FLAG,
    "save_freq": Either(Word(("epoch",)), Whole(1, _COUNT_MOST)),
    "save_weights_only": _FLAG,
    "separator": Text(re.compile(r"[^\"\r\n\x00\ud800-\udfff]"), "one character, no quote and no end of line"),
    "swap_on_epoch": _FLAG,
    "update_freq": Either(Word(("batch", "epoch")), Whole(1, _COUNT_MOST)),
    "write_graph": _FLAG,
    "write_images": Off("false: histogram_freq shows the weights", value=False),
    "write_steps_per_second": _FLAG,
}

#: What one kind of class calls differently.
KIND_ARGUMENTS: dict[str, dict[str, Value | Ref]] = {
    "layers": _LAYER_KIND,
    "losses": _LOSS,
    "metrics": _METRIC,
    "initializers": _INITIALIZER,
    "regularizers": {"mode": Word(("rows", "columns")), "factor": _POSITIVE},
    "optimizers": {"epsilon": Real(0, 1e6), "momentum": _FRACTION},
    "callbacks": _CALLBACK,
    "policies": {"name": Word(POLICIES)},
}

_KERNEL_1D = sizes(1, 1024, most=1)
_CAUSAL = Word(("valid", "same", "causal"))
_POOL_STRIDES = maybe(sizes(1, 1024))
_STATISTICS = maybe(Nested(_NUMBER, 4))
_PROBABILITY = Either(_FRACTION, Many(_FRACTION, 2, 2))
_PADS = Nested(Whole(0, DIM_MOST), 2)

#: What one class calls differently.
CLASS_ARGUMENTS: dict[str, Value | Ref] = {
    **{f"{name}.kernel_size": _KERNEL_1D for name in ("Conv1D", "SeparableConv1D", "DepthwiseConv1D")},
    **{f"{name}.kernel_size": _KERNEL_1D for name in ("Conv1DTranspose", "ConvLSTM1D")},
    **{f"{name}.padding": _CAUSAL for name in ("Conv1D", "SeparableConv1D", "DepthwiseConv1D", "ConvLSTM1D")},
    **{f"{kind}Pooling{rank}D.strides": _POOL_STRIDES for kind in ("Max", "Average") for rank in (1, 2, 3)},
    **{f"ZeroPadding{rank}D.padding": _PADS for rank in (1, 2, 3)},
    "AUC.num_thresholds": Whole(2, 100_000),
    "CategoricalFocalCrossentropy.alpha": Nested(_NUMBER, 1),
    "Dot.axes": _AXES,
    "GroupNormalization.groups": Whole(-1, DIM_MOST),
    "MinMaxNorm.rate": _FRACTION,
    "Normalization.axis": maybe(_AXES),
    "Normalization.mean": _STATISTICS,
    "Normalization.variance": _STATISTICS,
    "RandomElasticTransform.factor": _PROBABILITY,
    "RandomElasticTransform.scale": _RANGE,
    "RandomErasing.scale": _RANGE,
    "RandomFlip.mode": Word(("horizontal", "vertical", "horizontal_and_vertical")),
    "RandomPerspective.scale": _NUMBER,
    "ReLU.max_value": maybe(_POSITIVE),
    "Rescaling.offset": Nested(_NUMBER, 4),
    "Rescaling.scale": Nested(_NUMBER, 4),
    "STFTSpectrogram.fft_length": maybe(_SIZE),
    "STFTSpectrogram.mode": Word(("log", "magnitude", "psd", "real", "imag", "angle", "stft")),
}


def value_of(kind: str, class_name: str, argument: str) -> Value | Ref:
    """Return the kind of value of one class's argument. Raise KeyError for one that no table knows."""
    for suffix, ref in _SUFFIXES.items():
        if argument.endswith(suffix):
            return ref
    special = CLASS_ARGUMENTS.get(f"{class_name}.{argument}") or KIND_ARGUMENTS.get(kind, {}).get(argument)
    return special or ARGUMENTS[argument]
