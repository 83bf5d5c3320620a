package experiment

// Config is one training's settings: what a study file, the flags of `train` and
// the web form all say. See Validate for the ranges.
type Config struct {
	Hidden         []int   `toml:"hidden" json:"hidden"`               // units of the hidden layers; [] trains softmax regression
	Activation     string  `toml:"activation" json:"activation"`       // relu, sigmoid, tanh
	Normalisation  string  `toml:"normalisation" json:"normalisation"` // none, batch, published-per-example
	Place          string  `toml:"place" json:"place"`                 // of the normalisation: before or after the activation
	Init           string  `toml:"init" json:"init"`                   // he-normal, ...
	Loss           string  `toml:"loss" json:"loss"`                   // cross_entropy, published_cross_entropy
	L2             float64 `toml:"l2" json:"l2"`                       // lambda
	L2Form         string  `toml:"l2_form" json:"l2_form"`             // l2, published
	Rule           string  `toml:"rule" json:"rule"`                   // sgd
	LearningRate   float64 `toml:"learning_rate" json:"learning_rate"`
	Batch          int     `toml:"batch" json:"batch"`
	Epochs         int     `toml:"epochs" json:"epochs"`                   // at most
	Validation     float64 `toml:"validation" json:"validation"`           // share of the training examples
	Shuffle        bool    `toml:"shuffle" json:"shuffle"`                 // new order in each epoch
	LookEvery      int     `toml:"look_every" json:"look_every"`           // steps between looks within an epoch; 0: one look at its end
	Stop           string  `toml:"stop" json:"stop"`                       // none, patience, published-criterion
	Patience       int     `toml:"patience" json:"patience"`               // patience: epochs without a better validation cost
	MinImprovement float64 `toml:"min_improvement" json:"min_improvement"` // patience: what counts as better
	Criterion      float64 `toml:"criterion" json:"criterion"`             // published-criterion: the difference
	Random         string  `toml:"random" json:"random"`                   // streams, numpy-legacy
}
