"""Which Keras 3 classes a spec may name, with which arguments, and under which other names. Pure.

Keras's own `safe_mode` refuses a short list of names and loads all others; this table allows a list of names and
refuses all others. Each class is one line: its arguments, `!` behind those that it cannot do without.
"""

_KERNEL = "kernel_initializer kernel_regularizer kernel_constraint"
_BIAS = "use_bias bias_initializer bias_regularizer bias_constraint"
_DEPTHWISE = "depthwise_initializer depthwise_regularizer depthwise_constraint"
_POINTWISE = "pointwise_initializer pointwise_regularizer pointwise_constraint"
_RECURRENT = "recurrent_initializer recurrent_regularizer recurrent_constraint"
_EMBEDDINGS = "embeddings_initializer embeddings_regularizer embeddings_constraint"
_BETA = "beta_initializer beta_regularizer beta_constraint"
_GAMMA = "gamma_initializer gamma_regularizer gamma_constraint"
_AFFINE = f"center scale {_BETA} {_GAMMA}"
_WINDOW = "strides padding data_format dilation_rate activation"
_CONV = f"filters! kernel_size! {_WINDOW} groups {_KERNEL} {_BIAS}"
_CONV_TRANSPOSE = f"filters! kernel_size! {_WINDOW} output_padding {_KERNEL} {_BIAS}"
_DEPTHWISE_CONV = f"kernel_size! {_WINDOW} depth_multiplier {_DEPTHWISE} {_BIAS}"
_SEPARABLE_CONV = f"filters! kernel_size! {_WINDOW} depth_multiplier {_DEPTHWISE} {_POINTWISE} {_BIAS}"
_CELL = f"units! activation {_KERNEL} {_RECURRENT} {_BIAS} dropout recurrent_dropout seed"
_GATED_CELL = f"{_CELL} recurrent_activation"
_SEQUENCE = "return_sequences return_state go_backwards stateful unroll zero_output_for_mask"
_CONV_LSTM = (
    f"filters! kernel_size! {_WINDOW} recurrent_activation {_KERNEL} {_RECURRENT} {_BIAS} unit_forget_bias dropout "
    f"recurrent_dropout seed {_SEQUENCE}"
)
_HEADS = f"dropout sliding_window flash_attention use_gate seed {_KERNEL} {_BIAS}"
_LORA = "lora_rank lora_alpha quantization_config"
_AUGMENT = "seed data_format"
_FILL = "fill_mode interpolation fill_value"
_POOL = "strides padding data_format"

_RANKS = (1, 2, 3)

#: Layers; each also takes `name`, `trainable`, `dtype` and `activity_regularizer` unless `_BARE` says otherwise.
_LAYERS: dict[str, str] = {
    # Core
    "InputLayer": "shape batch_size batch_shape sparse ragged optional input_tensor",
    "Dense": f"units! activation {_KERNEL} {_BIAS} {_LORA}",
    "EinsumDense": f"equation! output_shape! activation bias_axes bias_initializer bias_regularizer bias_constraint "
    f"{_KERNEL} {_LORA} gptq_unpacked_column_size",
    "Embedding": f"input_dim! output_dim! {_EMBEDDINGS} mask_zero weights {_LORA}",
    "ReversibleEmbedding": f"input_dim! output_dim! {_EMBEDDINGS} tie_weights mask_zero reverse_dtype logit_soft_cap "
    "quantization_config",
    "Activation": "activation!",
    "Identity": "",
    "Masking": "mask_value",
    # Convolution
    **{f"Conv{rank}D": _CONV for rank in _RANKS},
    **{f"Conv{rank}DTranspose": _CONV_TRANSPOSE for rank in _RANKS},
    **{f"DepthwiseConv{rank}D": _DEPTHWISE_CONV for rank in (1, 2)},
    **{f"SeparableConv{rank}D": _SEPARABLE_CONV for rank in (1, 2)},
    # Pooling
    **{f"MaxPooling{rank}D": f"pool_size {_POOL}" for rank in _RANKS},
    **{f"AveragePooling{rank}D": f"pool_size! {_POOL}" for rank in _RANKS},
    **{f"Global{kind}Pooling{rank}D": "data_format keepdims" for kind in ("Max", "Average") for rank in _RANKS},
    **{f"Adaptive{kind}Pooling{rank}D": "output_size! data_format" for kind in ("Max", "Average") for rank in _RANKS},
    # Recurrent
    "LSTM": f"{_GATED_CELL} unit_forget_bias {_SEQUENCE} use_cudnn",
    "GRU": f"{_GATED_CELL} reset_after {_SEQUENCE} use_cudnn",
    "SimpleRNN": f"{_CELL} {_SEQUENCE}",
    "RNN": f"cell! {_SEQUENCE}",
    "LSTMCell": f"{_GATED_CELL} unit_forget_bias",
    "GRUCell": f"{_GATED_CELL} reset_after",
    "SimpleRNNCell": _CELL,
    "StackedRNNCells": "cells!",
    **{f"ConvLSTM{rank}D": _CONV_LSTM for rank in _RANKS},
    # Wrappers
    "Bidirectional": "layer! merge_mode weights backward_layer",
    "TimeDistributed": "layer!",
    "SpectralNormalization": "layer! power_iterations",
    "Pipeline": "layers!",
    # Normalization
    "BatchNormalization": f"axis momentum epsilon {_AFFINE} moving_mean_initializer moving_variance_initializer "
    "renorm renorm_clipping renorm_momentum synchronized",
    "LayerNormalization": f"axis epsilon rms_scaling {_AFFINE}",
    "GroupNormalization": f"groups axis epsilon {_AFFINE}",
    "RMSNormalization": "axis epsilon",
    "UnitNormalization": "axis",
    # Regularization
    "Dropout": "rate! noise_shape seed",
    "AlphaDropout": "rate! noise_shape seed",
    "GaussianDropout": "rate! seed",
    "GaussianNoise": "stddev! seed",
    "SpatialDropout1D": "rate! seed",
    "SpatialDropout2D": "rate! seed data_format",
    "SpatialDropout3D": "rate! seed data_format",
    "ActivityRegularization": "l1 l2",
    # Reshaping
    "Flatten": "data_format",
    "Reshape": "target_shape!",
    "Permute": "dims!",
    "RepeatVector": "n!",
    "Cropping1D": "cropping",
    "Cropping2D": "cropping data_format",
    "Cropping3D": "cropping data_format",
    "UpSampling1D": "size",
    "UpSampling2D": "size data_format interpolation",
    "UpSampling3D": "size data_format",
    **{f"ZeroPadding{rank}D": "padding data_format" for rank in _RANKS},
    # Merging
    **dict.fromkeys(("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"), ""),
    "Concatenate": "axis",
    "Dot": "axes! normalize",
    # Attention
    "Attention": "use_scale score_mode dropout seed",
    "AdditiveAttention": "use_scale dropout seed",
    "MultiHeadAttention": f"num_heads! key_dim! value_dim output_shape attention_axes {_HEADS}",
    "GroupQueryAttention": f"head_dim! num_query_heads! num_key_value_heads! {_HEADS}",
    # Activations
    "ELU": "alpha",
    "LeakyReLU": "negative_slope",
    "PReLU": "alpha_initializer alpha_regularizer alpha_constraint shared_axes",
    "ReLU": "max_value negative_slope threshold",
    "Softmax": "axis",
    # Numbers, audio
    "Rescaling": "scale! offset",
    "Normalization": "axis mean variance invert",
    "CategoryEncoding": "num_tokens output_mode sparse",
    "Discretization": "bin_boundaries num_bins epsilon output_mode sparse",
    "MelSpectrogram": "fft_length sequence_stride sequence_length window sampling_rate num_mel_bins min_freq max_freq "
    "power_to_db top_db mag_exp min_power ref_power",
    "STFTSpectrogram": "mode frame_length frame_step fft_length window periodic scaling padding expand_dims "
    "data_format",
    # Images
    "Resizing": "height! width! interpolation crop_to_aspect_ratio pad_to_aspect_ratio fill_mode fill_value antialias "
    "data_format",
    "CenterCrop": "height! width! data_format",
    "MaxNumBoundingBoxes": "max_number! fill_value data_format",
    "AugMix": f"value_range num_chains chain_depth factor alpha all_ops interpolation {_AUGMENT}",
    "AutoContrast": "value_range data_format",
    "ContrastLimitedAdaptiveHistogramEqualization": "value_range clip_limit tile_grid_size data_format",
    "CutMix": f"factor {_AUGMENT}",
    "Equalization": "value_range bins data_format",
    "MixUp": f"alpha {_AUGMENT}",
    "RandAugment": f"value_range num_ops factor interpolation {_AUGMENT}",
    "RandomBrightness": f"factor! value_range {_AUGMENT}",
    "RandomColorDegeneration": f"factor! value_range {_AUGMENT}",
    "RandomColorJitter": f"value_range brightness_factor contrast_factor saturation_factor hue_factor {_AUGMENT}",
    "RandomContrast": f"factor! value_range {_AUGMENT}",
    "RandomCrop": f"height! width! {_AUGMENT}",
    "RandomElasticTransform": f"factor scale value_range {_FILL} {_AUGMENT}",
    "RandomErasing": f"factor scale fill_value value_range {_AUGMENT}",
    "RandomFlip": f"mode {_AUGMENT}",
    "RandomGaussianBlur": f"factor kernel_size sigma value_range {_AUGMENT}",
    "RandomGrayscale": f"factor {_AUGMENT}",
    "RandomHue": f"factor! value_range {_AUGMENT}",
    "RandomInvert": f"factor value_range {_AUGMENT}",
    "RandomPerspective": f"factor scale interpolation fill_value {_AUGMENT}",
    "RandomPosterization": f"factor! value_range {_AUGMENT}",
    "RandomRotation": f"factor! {_FILL} {_AUGMENT}",
    "RandomSaturation": f"factor! value_range {_AUGMENT}",
    "RandomSharpness": f"factor! value_range {_AUGMENT}",
    "RandomShear": f"x_factor y_factor {_FILL} {_AUGMENT}",
    "RandomTranslation": f"height_factor! width_factor! {_FILL} {_AUGMENT}",
    "RandomZoom": f"height_factor! width_factor {_FILL} {_AUGMENT}",
    "Solarization": f"addition_factor threshold_factor value_range {_AUGMENT}",
}

#: Layers whose constructors take less than the others.
_BARE: dict[str, str] = {
    "ActivityRegularization": "name trainable dtype",
    "InputLayer": "name dtype",
    "Discretization": "name dtype",
    "Pipeline": "name",
    "StackedRNNCells": "name trainable dtype",
    **{f"SpatialDropout{rank}D": "name dtype" for rank in _RANKS},
}

#: What every optimizer but LossScaleOptimizer takes.
_STEP = (
    "learning_rate weight_decay clipnorm clipvalue global_clipnorm use_ema ema_momentum ema_overwrite_frequency "
    "loss_scale_factor gradient_accumulation_steps name"
)
_ADAM = "beta_1 beta_2 epsilon"

_OPTIMIZERS: dict[str, str] = {
    "Adadelta": f"{_STEP} rho epsilon",
    "Adafactor": f"{_STEP} beta_2_decay epsilon_1 epsilon_2 clip_threshold relative_step",
    "Adagrad": f"{_STEP} initial_accumulator_value epsilon",
    "Adam": f"{_STEP} {_ADAM} amsgrad",
    "AdamW": f"{_STEP} {_ADAM} amsgrad",
    "Adamax": f"{_STEP} {_ADAM}",
    "Ftrl": f"{_STEP} learning_rate_power initial_accumulator_value l1_regularization_strength "
    "l2_regularization_strength l2_shrinkage_regularization_strength beta",
    "Lamb": f"{_STEP} {_ADAM}",
    "Lion": f"{_STEP} beta_1 beta_2",
    "LossScaleOptimizer": "inner_optimizer! initial_scale dynamic_growth_steps name",
    "Muon": f"{_STEP} adam_beta_1 adam_beta_2 adam_weight_decay epsilon exclude_layers exclude_embeddings "
    "muon_a muon_b muon_c adam_lr_ratio momentum ns_steps nesterov rms_rate",
    "Nadam": f"{_STEP} {_ADAM}",
    "RMSprop": f"{_STEP} rho momentum epsilon centered",
    "SGD": f"{_STEP} momentum nesterov",
    "ScheduleFreeAdamW": f"{_STEP} {_ADAM} warmup_steps",
}

_SCHEDULES: dict[str, str] = {
    "CosineDecay": "initial_learning_rate! decay_steps! alpha name warmup_target warmup_steps",
    "CosineDecayRestarts": "initial_learning_rate! first_decay_steps! t_mul m_mul alpha name",
    "ExponentialDecay": "initial_learning_rate! decay_steps! decay_rate! staircase name",
    "InverseTimeDecay": "initial_learning_rate! decay_steps! decay_rate! staircase name",
    "PiecewiseConstantDecay": "boundaries! values! name",
    "PolynomialDecay": "initial_learning_rate! decay_steps! end_learning_rate power cycle name",
}

_LOSS = "reduction name dtype"
_LOGITS = "from_logits label_smoothing axis"

_LOSSES: dict[str, str] = {
    "BinaryCrossentropy": f"{_LOGITS} {_LOSS}",
    "BinaryFocalCrossentropy": f"apply_class_balancing alpha gamma {_LOGITS} {_LOSS}",
    "CTC": _LOSS,
    "CategoricalCrossentropy": f"{_LOGITS} {_LOSS}",
    "CategoricalFocalCrossentropy": f"alpha gamma {_LOGITS} {_LOSS}",
    "CategoricalGeneralizedCrossEntropy": f"q {_LOSS}",
    "CategoricalHinge": _LOSS,
    "Circle": f"gamma margin remove_diagonal {_LOSS}",
    "CosineSimilarity": f"axis {_LOSS}",
    "Dice": f"axis {_LOSS}",
    "Hinge": _LOSS,
    "Huber": f"delta {_LOSS}",
    "KLDivergence": _LOSS,
    "LogCosh": _LOSS,
    "MeanAbsoluteError": _LOSS,
    "MeanAbsolutePercentageError": _LOSS,
    "MeanSquaredError": _LOSS,
    "MeanSquaredLogarithmicError": _LOSS,
    "Poisson": _LOSS,
    "SparseCategoricalCrossentropy": f"from_logits ignore_class axis {_LOSS}",
    "SquaredHinge": _LOSS,
    "Tversky": f"alpha beta axis {_LOSS}",
}

_METRIC = "name dtype"
_CONFUSION = f"thresholds {_METRIC}"
_TRADE = f"num_thresholds class_id {_METRIC}"
_IOU = f"num_classes! ignore_class sparse_y_pred axis {_METRIC}"

_METRICS: dict[str, str] = {
    "AUC": f"num_thresholds curve summation_method thresholds multi_label num_labels label_weights "
    f"from_logits {_METRIC}",
    "BinaryAccuracy": f"threshold {_METRIC}",
    "BinaryCrossentropy": f"from_logits label_smoothing {_METRIC}",
    "BinaryIoU": f"target_class_ids threshold {_METRIC}",
    "CategoricalCrossentropy": f"{_LOGITS} {_METRIC}",
    "F1Score": f"average threshold {_METRIC}",
    "FBetaScore": f"average beta threshold {_METRIC}",
    "IoU": f"{_IOU} target_class_ids! sparse_y_true",
    "MeanIoU": f"{_IOU} sparse_y_true",
    "OneHotIoU": f"{_IOU} target_class_ids!",
    "OneHotMeanIoU": _IOU,
    "Precision": f"top_k class_id {_CONFUSION}",
    "PrecisionAtRecall": f"recall! {_TRADE}",
    "R2Score": f"class_aggregation num_regressors {_METRIC}",
    "Recall": f"top_k class_id {_CONFUSION}",
    "RecallAtPrecision": f"precision! {_TRADE}",
    "SensitivityAtSpecificity": f"specificity! {_TRADE}",
    "SparseCategoricalCrossentropy": f"from_logits ignore_class axis {_METRIC}",
    "SparseTopKCategoricalAccuracy": f"k from_sorted_ids {_METRIC}",
    "SpecificityAtSensitivity": f"sensitivity! {_TRADE}",
    "TopKCategoricalAccuracy": f"k {_METRIC}",
    **{f"{truth}{side}": _CONFUSION for truth in ("True", "False") for side in ("Positives", "Negatives")},
    **dict.fromkeys(("ConcordanceCorrelation", "CosineSimilarity", "PearsonCorrelation"), f"axis {_METRIC}"),
    **dict.fromkeys(("Accuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy"), _METRIC),
    **dict.fromkeys(("CategoricalHinge", "Hinge", "SquaredHinge", "KLDivergence", "Poisson"), _METRIC),
    **dict.fromkeys(("MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError"), _METRIC),
    **dict.fromkeys(("MeanSquaredLogarithmicError", "LogCoshError", "RootMeanSquaredError"), _METRIC),
}

_FANS = ("GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "LecunNormal", "LecunUniform")

_INITIALIZERS: dict[str, str] = {
    **dict.fromkeys(_FANS, "seed input_axes output_axes"),
    **dict.fromkeys(("RandomNormal", "TruncatedNormal"), "mean stddev seed"),
    "RandomUniform": "minval maxval seed",
    "VarianceScaling": "scale mode distribution seed input_axes output_axes",
    "Orthogonal": "gain seed",
    "Constant": "value",
    "Identity": "gain",
    "Ones": "",
    "Zeros": "",
    "STFT": "side window scaling periodic",
}

_REGULARIZERS: dict[str, str] = {"L1": "l1", "L2": "l2", "L1L2": "l1 l2", "OrthogonalRegularizer": "factor mode"}

_CONSTRAINTS: dict[str, str] = {
    "MaxNorm": "max_value axis",
    "MinMaxNorm": "min_value max_value rate axis",
    "NonNeg": "",
    "UnitNorm": "axis",
}

_CALLBACKS: dict[str, str] = {
    "EarlyStopping": "monitor min_delta patience verbose mode baseline restore_best_weights start_from_epoch",
    "ReduceLROnPlateau": "monitor factor patience verbose mode min_delta cooldown min_lr",
    "TerminateOnNaN": "raise_error",
    "LearningRateScheduler": "rates! verbose",
    "SwapEMAWeights": "swap_on_epoch",
    "ModelCheckpoint": "filepath! monitor verbose save_best_only save_weights_only mode save_freq "
    "initial_value_threshold",
    "CSVLogger": "filename! separator append",
    "TensorBoard": "log_dir histogram_freq write_graph write_images write_steps_per_second update_freq profile_batch "
    "embeddings_freq embeddings_metadata",
}

#: The allowed classes and their arguments, by kind.
TABLES: dict[str, dict[str, str]] = {
    "layers": {
        name: f"{arguments} {_BARE.get(name, 'name trainable dtype activity_regularizer')}"
        for name, arguments in _LAYERS.items()
    },
    "optimizers": _OPTIMIZERS,
    "schedules": _SCHEDULES,
    "losses": _LOSSES,
    "metrics": _METRICS,
    "initializers": _INITIALIZERS,
    "regularizers": _REGULARIZERS,
    "constraints": _CONSTRAINTS,
    "callbacks": _CALLBACKS,
    "generators": {"SeedGenerator": "seed name"},
    "policies": {"DTypePolicy": "name"},
}

#: Where Keras exports the classes of a kind, the spelling that Keras writes first.
MODULES: dict[str, tuple[str, ...]] = {
    **{kind: (f"keras.{kind}",) for kind in TABLES},
    "schedules": ("keras.optimizers.schedules",),
    "generators": ("keras.random",),
    "policies": ("keras", "keras.dtype_policies"),
}

#: Classes of models, and the modules that versions of Keras 3 wrote for them.
MODELS: dict[str, frozenset[str]] = {
    "Sequential": frozenset({"keras", "keras.models", "keras.src.models.sequential"}),
    "Functional": frozenset({"keras", "keras.models", "keras.src.models.functional"}),
    "Model": frozenset({"keras", "keras.models", "keras.src.models.model", "keras.src.models.functional"}),
}

#: What one thing of a kind is called in a message.
NOUNS: dict[str, str] = {
    "layers": "layer",
    "optimizers": "optimizer",
    "schedules": "learning-rate schedule",
    "losses": "loss",
    "metrics": "metric",
    "initializers": "initializer",
    "regularizers": "regularizer",
    "constraints": "constraint",
    "callbacks": "callback",
    "activations": "activation",
    "generators": "seed generator",
    "policies": "dtype policy",
}

_ACTIVATIONS = (
    "celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu "
    "linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax softplus "
    "softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink threshold"
)
#: Names of `keras.activations` (`keras.activations.get` takes the same).
ACTIVATIONS = frozenset(_ACTIVATIONS.split())

#: Layers that may stand where an activation does.
ACTIVATION_LAYERS = frozenset({"ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"})
#: Layers without weights of which a Pipeline that stands there may be made.
ACTIVATION_PARTS = frozenset({"ELU", "LeakyReLU", "ReLU", "Rescaling", "Softmax"})

_CALL_ARGUMENTS = (
    "attention_mask count_weights data initial_state inputs key key_mask mask query query_mask "
    "return_attention_scores reverse sequence sequences states training use_causal_mask value value_mask "
    "x"
)
#: What a layer may be given when a Functional model calls it.
CALL_ARGUMENTS = frozenset(_CALL_ARGUMENTS.split())

#: What is to be done about code in a model.
CODE = "no code travels in a spec; use the built-in layers (Rescaling, Reshape, Activation …)"
_CODE = f"it carries code, and {CODE}"
_FOREIGN = "it runs another framework's program; build the model from Keras layers"
_STRINGS = "it works on text; encode the text as numbers in the data"
_OURS = "the job does that itself"
_BASE = "it is a base class without behaviour; name the one that you need"

#: Names that are known and refused, with the reason and the remedy.
REFUSED: dict[str, dict[str, str]] = {
    "layers": {
        "Lambda": _CODE,
        **dict.fromkeys(("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"), _FOREIGN),
        **dict.fromkeys(("StringLookup", "IntegerLookup", "TextVectorization", "Hashing", "HashedCrossing"), _STRINGS),
        **dict.fromkeys(("Layer", "Wrapper"), _BASE),
        **dict.fromkeys(
            ("LocallyConnected1D", "LocallyConnected2D"),
            "it is gone from Keras 3; use Conv1D or Conv2D, which share their weights between all places",
        ),
        "AutoEncoder": "it is gone from Keras 3; put the layers of the encoder and the decoder in a row",
        "ParametricSoftplus": "it is gone from Keras 3; use Activation with softplus",
        "SReLU": "it is gone from Keras 3; use PReLU, or ReLU with max_value, negative_slope and threshold",
    },
    "constraints": {"RadialConstraint": "it is gone from Keras 3; use MaxNorm, MinMaxNorm, NonNeg or UnitNorm"},
    "optimizers": {
        "Optimizer": _BASE,
        **dict.fromkeys(("MultiOptimizer", "OptimizerMap"), "it needs objects of a running program; use one optimizer"),
    },
    "losses": {"Loss": _BASE, "LossFunctionWrapper": "it carries a function; use the loss's own class"},
    "schedules": {"LearningRateSchedule": _BASE},
    "metrics": {
        "Metric": _BASE,
        **dict.fromkeys(("Mean", "Sum"), "it takes values, not labels and predictions; Keras cannot compile with it"),
        "MeanMetricWrapper": "it carries a function; use the metric's own class",
        **dict.fromkeys(
            ("huber", "binary_focal_crossentropy", "categorical_focal_crossentropy"),
            "Keras has it as a loss only; give it as the loss, whose value is in the history",
        ),
        **dict.fromkeys(
            ("crossentropy", "ce"),
            "Keras does not choose among them; use BinaryCrossentropy, CategoricalCrossentropy or "
            "SparseCategoricalCrossentropy",
        ),
    },
    "callbacks": {
        "BackupAndRestore": f"{_OURS}: it resumes from its checkpoints, to the bit; leave the callback out",
        "OrbaxCheckpoint": f"{_OURS}; see the spec's checkpoint, or use ModelCheckpoint",
        "History": f"{_OURS}; ask for the job's history",
        "ProgbarLogger": f"{_OURS}; follow the job (fitq watch, or its events)",
        "RemoteMonitor": "a job calls no addresses; follow its events, or ask for its metrics",
        "LambdaCallback": "it carries code, and no code travels in a spec; read the job's events, and act on them",
        **dict.fromkeys(("Callback", "CallbackList"), _BASE),
    },
    "policies": dict.fromkeys(
        ("QuantizedDTypePolicy", "QuantizedFloat8DTypePolicy", "GPTQDTypePolicy", "AWQDTypePolicy", "Int4DTypePolicy"),
        "quantized models are not trained here; give the model in float32 or mixed_bfloat16",
    ),
}

#: What `from_config` of a class cannot do without, though its constructor can.
FILLED: dict[str, dict[str, float]] = {"Rescaling": {"offset": 0.0}, "Constant": {"value": 0.0}}

#: Arguments of older Keras versions, with what to write now.
OLD_ARGUMENTS: dict[str, str] = {
    "lr": "write learning_rate",
    "decay": "give a schedule as learning_rate",
    "input_shape": "give the model's input_shape once, beside the layers",
    "batch_input_shape": "give the model's input_shape once, beside the layers",
    "input_length": "leave it out",
}

_SHORT_ERRORS: dict[str, tuple[str, ...]] = {
    "BinaryCrossentropy": ("bce", "BCE"),
    "MeanAbsoluteError": ("mae", "MAE"),
    "MeanAbsolutePercentageError": ("mape", "MAPE"),
    "MeanSquaredError": ("mse", "MSE"),
    "MeanSquaredLogarithmicError": ("msle", "MSLE"),
}

#: Names that a class has besides its own, its name in snake case, and (optimizers) its name in small letters.
OTHER_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "layers": {
        "InputLayer": ("Input",),
        "GroupQueryAttention": ("GroupedQueryAttention",),
        **{f"Conv{rank}D": (f"Convolution{rank}D",) for rank in _RANKS},
        **{f"Conv{rank}DTranspose": (f"Convolution{rank}DTranspose",) for rank in _RANKS},
        **{f"SeparableConv{rank}D": (f"SeparableConvolution{rank}D",) for rank in (1, 2)},
        **{f"MaxPooling{rank}D": (f"MaxPool{rank}D",) for rank in _RANKS},
        **{f"AveragePooling{rank}D": (f"AvgPool{rank}D",) for rank in _RANKS},
        **{f"GlobalMaxPooling{rank}D": (f"GlobalMaxPool{rank}D",) for rank in _RANKS},
        **{f"GlobalAveragePooling{rank}D": (f"GlobalAvgPool{rank}D",) for rank in _RANKS},
    },
    "policies": {"DTypePolicy": ("FloatDTypePolicy",)},
    "regularizers": {"L1L2": ("l1_l2",)},
    "losses": {**_SHORT_ERRORS, "KLDivergence": ("kld", "KLD", "kullback_leibler_divergence"), "LogCosh": ("logcosh",)},
    "metrics": {**_SHORT_ERRORS, "LogCoshError": ("log_cosh", "logcosh")},
    "initializers": {
        "Identity": ("IdentityInitializer",),
        "Ones": ("one",),
        "Orthogonal": ("OrthogonalInitializer",),
        "RandomNormal": ("normal",),
        "RandomUniform": ("uniform",),
        "STFT": ("STFTInitializer",),
        "Zeros": ("zero",),
    },
}
