package experiment

import "time"

// Results is what a finished study says: the content of results.json. Accuracies
// are in [0, 1], costs in nats, times in seconds, nothing is rounded. A number
// that is undefined or not finite is null: such fields are pointers.
type Results struct {
	Study       string         `json:"study"`
	Title       string         `json:"title"`
	Question    string         `json:"question"`
	Dataset     DatasetInfo    `json:"dataset"`
	Precision   string         `json:"precision"`
	Threads     int            `json:"threads"`
	Machine     Machine        `json:"machine"`
	Glassnet    string         `json:"glassnet"` // version
	Command     string         `json:"command"`  // reproduces the study
	Started     time.Time      `json:"started"`
	Seconds     float64        `json:"seconds"` // from start to results, runs sharing the cores
	Seeds       []uint64       `json:"seeds"`
	Primary     string         `json:"primary_metric"`            // named before the runs: test_accuracy
	Target      *float64       `json:"target_accuracy,omitempty"` // validation accuracy that "to the target" means
	ShortenedTo int            `json:"shortened_to,omitempty"`    // epochs after which runs were cut short, for a quick look; 0: they were not
	Notes       []string       `json:"notes,omitempty"`           // what a reader must know, as full sentences (choice of lambda, rate not tuned per arm, ...)
	Experiments []Experiment   `json:"experiments"`
	Comparisons []Comparison   `json:"comparisons,omitempty"`
	Published   []PublishedRow `json:"published,omitempty"` // only in a study that replays the published table
	Interrupted bool           `json:"interrupted,omitempty"`
}

// DatasetInfo describes the data of a study.
type DatasetInfo struct {
	Name     string   `json:"name"`
	Origin   string   `json:"origin"`
	Fallback bool     `json:"fallback"` // MNIST was wanted and could not be had
	SHA256   string   `json:"sha256"`
	Examples Examples `json:"examples"`
	Width    int      `json:"width"`
	Height   int      `json:"height"`
	Classes  int      `json:"classes"`
	// PerClass counts the examples of each class in each part, for the split of
	// the first experiment's first seed.
	PerClass []ClassCount `json:"per_class"`
	Samples  []Digit      `json:"samples"` // a few of each class, for the sheet of sample digits
}

// Examples counts the three parts of the data.
type Examples struct {
	Train      int `json:"train"`
	Validation int `json:"validation"`
	Test       int `json:"test"`
}

// ClassCount counts the examples of one class.
type ClassCount struct {
	Class      int `json:"class"`
	Train      int `json:"train"`
	Validation int `json:"validation"`
	Test       int `json:"test"`
}

// Digit is one image with what is known of it. Pixels are Width*Height bytes.
type Digit struct {
	Index       int      `json:"index"` // in its set
	Label       int      `json:"label"`
	Predicted   *int     `json:"predicted,omitempty"`
	Probability *float64 `json:"probability,omitempty"` // of Predicted
	Pixels      []byte   `json:"pixels"`
}

// Machine describes where a study ran.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"` // that the program may run on; a limit on CPU time is not in it
	OS     string `json:"os"`    // GOOS/GOARCH
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Experiment is one configuration of a study: one row of its table.
type Experiment struct {
	Name          string             `json:"name"`
	Normalisation string             `json:"normalisation"` // none, batch, published-per-example
	L2            float64            `json:"l2"`            // lambda
	Config        Config             `json:"config"`
	Layers        []LayerShape       `json:"layers"`
	Runs          []Run              `json:"runs"`
	Timing        *Timing            `json:"timing,omitempty"`
	Summary       map[string]Summary `json:"summary"` // by metric: the keys of Run that hold numbers, and steps_to_target, seconds_to_target
}

// LayerShape gives the shapes of one layer, rows being examples; the
// column-vector convention turns each round.
type LayerShape struct {
	Layer      int    `json:"layer"` // position from 1
	Kind       string `json:"kind"`
	Weight     []int  `json:"weight,omitempty"` // [in, out]
	Bias       []int  `json:"bias,omitempty"`   // [out]
	Activation []int  `json:"activation"`       // [batch, out]
	Parameters int    `json:"parameters"`
}

// Run is one training with one seed.
type Run struct {
	Seed            uint64   `json:"seed"`
	Epochs          int      `json:"epochs"` // begun
	Steps           int      `json:"steps"`
	BestEpoch       int      `json:"best_epoch,omitempty"` // whose weights were kept, when the stop rule restores the best
	BestStep        int      `json:"best_step,omitempty"`
	TrainAccuracy   *float64 `json:"train_accuracy"`
	ValAccuracy     *float64 `json:"val_accuracy"`
	TestAccuracy    *float64 `json:"test_accuracy"`
	TrainCost       *float64 `json:"train_cost"`
	ValCost         *float64 `json:"val_cost"`
	TestCost        *float64 `json:"test_cost"`
	Penalty         *float64 `json:"penalty"`
	TrainCostOf     string   `json:"train_cost_of"` // last_batch, training_set
	Seconds         float64  `json:"seconds"`       // wall time, other runs sharing the cores
	MicrosPerStep   *float64 `json:"us_per_step"`   // timed alone; the same for all runs of an experiment
	SumOfWeights    *float64 `json:"sum_of_weights"`
	StepsToTarget   *float64 `json:"steps_to_target"`    // null: never reached
	SecondsToTarget *float64 `json:"seconds_to_target"`  // steps and looks to the target by a timing alone, a seed's own: the k-th seed takes the k-th repeat
	Stopped         string   `json:"stopped"`            // criterion, patience, max_epochs, interrupted, diverged
	Diverged        string   `json:"diverged,omitempty"` // epoch, step and rate at which it did
	Dir             string   `json:"dir"`                // relative to the study's folder, e.g. runs/exp1-seed42

	looksToTarget int // looks up to the one that reached the target

	// Of a single training (result.json); a study says them once for all runs.
	Dataset  string `json:"dataset,omitempty"`
	Fallback bool   `json:"fallback,omitempty"` // MNIST was wanted and could not be had
}

// Timing is an experiment's speed with no other run beside it: medians over
// interleaved repeats.
type Timing struct {
	Repeats       int       `json:"repeats"`
	Threads       int       `json:"threads"` // at most: a trainer uses one where that is faster
	MicrosPerStep float64   `json:"us_per_step"`
	MicrosPerLook float64   `json:"us_per_look"` // one look at the validation set
	Samples       []float64 `json:"us_per_step_samples"`
}

// Summary is the mean of a metric over the seeds with its 95 % interval
// (Student's t). With one run there is neither spread nor interval.
type Summary struct {
	Mean *float64    `json:"mean"`
	SD   *float64    `json:"sd"`
	CI95 [2]*float64 `json:"ci95"`
	N    int         `json:"n"`
}

// Comparison is the difference b - a of a metric between two experiments, paired
// by seed: same split and, where shapes allow, same initial weights.
type Comparison struct {
	Metric     string      `json:"metric"`
	A          string      `json:"a"`
	B          string      `json:"b"`
	Difference *float64    `json:"difference"` // mean of b - a
	CI95       [2]*float64 `json:"ci95"`
	N          int         `json:"n"`
	P          *float64    `json:"p"`       // paired t test, two-sided
	PHolm      *float64    `json:"p_holm"`  // Holm-corrected within its family: the primary comparisons, those of times, or all others
	Primary    bool        `json:"primary"` // of the primary metric and named as such in the study
	Finding    string      `json:"finding"` // one sentence that follows from the numbers
}

// PublishedRow is one row of the published table beside ours.
type PublishedRow struct {
	Experiment string   `json:"experiment"` // exp1, exp2, exp3
	Figures    []Figure `json:"figures"`
	Seconds    float64  `json:"seconds"` // published; another machine
	AllEqual   bool     `json:"all_equal"`
}

// Figure is one printed figure of the published table and ours, printed the same
// way.
type Figure struct {
	Column    string `json:"column"` // "# of Epochs", "Train Accuracy", ...
	Published string `json:"published"`
	Ours      string `json:"ours"`
	Equal     bool   `json:"equal"`
}

// Evaluation is runs/<run>/evaluation.json: how the finished network does on the
// test set.
type Evaluation struct {
	Dataset   string       `json:"dataset"`
	Examples  int          `json:"examples"`
	Cost      *float64     `json:"cost"`
	Accuracy  *float64     `json:"accuracy"`
	PerClass  []ClassScore `json:"per_class"`
	Confusion [][]int      `json:"confusion"`          // [label][predicted]
	Mistakes  []Digit      `json:"mistakes,omitempty"` // the most confident ones, worst first
}

// ClassScore is how well one class is told from the others. What is undefined
// (no example predicted, or none there) is null.
type ClassScore struct {
	Class     int      `json:"class"`
	Precision *float64 `json:"precision"`
	Recall    *float64 `json:"recall"`
	F1        *float64 `json:"f1"`
	Support   int      `json:"support"`
}

// Evidence is runs/<run>/evidence.json of a run with the published normalisation:
// the gradient check of its layers and of batch normalisation in their place.
type Evidence struct {
	Layer         string          `json:"layer"`  // kind of layer that was checked
	Checks        []GradientCheck `json:"checks"` // some parameters of the trained network before the layer
	WorstRelative *float64        `json:"worst_relative"`
	Failed        int             `json:"failed"`
	Twin          string          `json:"twin"` // the layer put in its place for comparison
	TwinChecks    []GradientCheck `json:"twin_checks"`
	TwinWorst     *float64        `json:"twin_worst_relative"`
	TwinFailed    int             `json:"twin_failed"`
	Tolerance     string          `json:"tolerance"`
}

// GradientCheck compares one gradient with its finite difference.
type GradientCheck struct {
	Parameter string   `json:"parameter"` // "1.dense.weight[380, 4]"
	Analytic  *float64 `json:"analytic"`
	Numeric   *float64 `json:"numeric"`
}

// History columns of runs/<run>/history.csv, one row per look: always
//
//	epoch, step, train_cost, train_accuracy, val_cost, val_accuracy, penalty,
//	sum_of_weights, norm_<parameter> ... (Euclidean norm of each weight matrix)
//
// An empty field is an undefined or non-finite value. train_cost is the mean over the
// epoch's examples so far. Under the published stop rule it is that of the last batch
// before its update, and train_cost and val_cost include the penalty.
