package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"glassnet/experiment"
)

// This file holds the report's sentences. Each follows from the numbers: where
// they come out otherwise, it says otherwise or is left out.

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// isReplay says whether a study replays the published table.
func isReplay(s *study) bool { return len(s.Published) > 0 }

func title(studies []*study) string {
	if len(studies) == 1 {
		if t := clean(studies[0].Title); t != "" {
			return t
		}
		return "Study " + clean(studies[0].Study)
	}
	if isReplay(studies[0]) && slices.ContainsFunc(studies, func(s *study) bool { return !isReplay(s) }) {
		return "A published study, replayed and asked again"
	}
	return fmt.Sprintf("Report of %d studies", len(studies))
}

func subtitle(studies []*study) string {
	var names []string
	for _, s := range studies {
		names = append(names, clean(s.Study))
	}
	return "Report of glassnet over the finished " + map[bool]string{true: "study ", false: "studies "}[len(names) == 1] + join(names)
}

// join lists words: a, b and c.
func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// notices say what must be known before anything else is read.
func notices(studies []*study) []string {
	var all []string
	add := func(s string) {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	replayFallback := slices.ContainsFunc(studies, func(s *study) bool { return isReplay(s) && s.Dataset.Fallback })
	for _, s := range studies {
		name := clean(s.Dataset.Name)
		switch {
		case s.Dataset.Fallback && isReplay(s):
			add(fmt.Sprintf("MNIST could not be had. This report is on %s, a set of digits that the program draws itself: its figures cannot equal the published ones.", name))
		case s.Dataset.Fallback && !replayFallback:
			add(fmt.Sprintf("MNIST could not be had. The study %s ran on %s, a set of digits that the program draws itself.", clean(s.Study), name))
		case isReplay(s) && s.Dataset.Name != "mnist":
			add(fmt.Sprintf("The study %s ran on %s, not on the MNIST of the published study: its figures cannot equal the published ones.", clean(s.Study), name))
		}
		if s.Interrupted {
			add(fmt.Sprintf("The study %s was interrupted: this report shows what was finished until then.", clean(s.Study)))
		}
		diverged := 0
		for _, e := range s.Experiments {
			for _, r := range e.Runs {
				if r.Stopped == "diverged" {
					diverged++
				}
			}
		}
		if diverged > 0 {
			verb := "were"
			if diverged == 1 {
				verb = "was"
			}
			add(fmt.Sprintf("In the study %s %s diverged and %s left out of means and comparisons.", clean(s.Study), plural(diverged, "run"), verb))
		}
	}
	return all
}

// replayed counts the published figures that could come out again and those that did.
// Experiments without a run that came to its end are unfinished.
func replayed(r *experiment.Results) (equal, all int, different, unfinished []string) {
	for _, row := range r.Published {
		if !slices.ContainsFunc(r.Experiments, func(e experiment.Experiment) bool { return e.Name == row.Experiment && ended(&e) }) {
			unfinished = append(unfinished, clean(row.Experiment))
			continue
		}
		for _, f := range row.Figures {
			all++
			if f.Equal {
				equal++
				continue
			}
			different = append(different, fmt.Sprintf("%s %s: published %s, ours %s",
				clean(row.Experiment), clean(f.Column), clean(f.Published), orMissing(clean(f.Ours))))
		}
	}
	return equal, all, different, unfinished
}

// ended says whether the run that the published one is compared with came to its end.
func ended(e *experiment.Experiment) bool {
	return len(e.Runs) > 0 && e.Runs[0].Stopped != "interrupted"
}

// replaySentence says how the replay of the published table went.
func replaySentence(r *experiment.Results) string {
	equal, all, different, unfinished := replayed(r)
	if len(unfinished) > 0 && r.Dataset.Name == "mnist" {
		rest := fmt.Sprintf("%s did not come to an end, so nothing of the published table is compared with what there is of %s",
			join(unfinished), map[bool]string{true: "it", false: "them"}[len(unfinished) == 1])
		if all == 0 {
			return rest + "."
		}
		rest = fmt.Sprintf("%s; of the other %d figures %d come out again.", rest, all, equal)
		if len(different) > 0 {
			rest += " Different: " + strings.Join(different, "; ") + "."
		}
		return rest
	}
	switch {
	case all == 0:
		return "No published figure could be compared."
	case r.Dataset.Name != "mnist": // whether or not all runs came to their end
		return fmt.Sprintf("The data is %s, not the MNIST of the published study, so the published figures cannot come out again; %s.",
			clean(r.Dataset.Name), map[bool]string{true: "none is equal", false: fmt.Sprintf("%d of %d are equal by chance", equal, all)}[equal == 0])
	case r.ShortenedTo > 0 && equal < all:
		return fmt.Sprintf("Runs were cut short after epoch %d, so the published figures cannot come out again; %d of %d are equal.", r.ShortenedTo, equal, all)
	case equal == all:
		return fmt.Sprintf("All %d published figures come out again, digit for digit (the seconds aside: another machine).", all)
	default:
		return fmt.Sprintf("%d of %d published figures come out again. Different: %s.", equal, all, strings.Join(different, "; "))
	}
}

// shortAnswer says first what the whole report shows.
func shortAnswer(studies []*study) []block {
	var blocks []block
	for _, s := range studies {
		var points []string
		if isReplay(s) {
			blocks = append(blocks, block{Lead: replaySentence(s.Results)})
			if at, beside := subject(s); at >= 0 && len(s.files[at]) > 0 {
				points = append(points, "What the published table calls batch norm is not batch normalisation: each example is normalised by itself, across the units of a layer, and the backward pass leaves that out. "+growthProse(s, at, beside))
				if e := s.files[at][0].evidence; e != nil {
					points = append(points, gradientProse(clean(s.Experiments[at].Name), e))
				}
			}
			points = append(points, smallPrint(s)...)
			blocks = append(blocks, block{List: points})
			continue
		}
		lead := clean(s.Question)
		if lead == "" {
			lead = "What the study " + clean(s.Study) + " shows:"
		}
		blocks = append(blocks, block{Lead: lead})
		if s.ShortenedTo > 0 {
			points = append(points, cutShort(s.Results))
		}
		shown := len(points)
		for _, c := range s.Comparisons {
			if c.Primary && c.Finding != "" {
				points = append(points, sentence(c.Finding))
			}
		}
		// What the main question's pairs do in steps and in time belongs to the answer, too.
		for _, p := range s.Comparisons {
			for _, c := range s.Comparisons {
				if p.Primary && p.A == c.A && p.B == c.B && !c.Primary && c.N > 1 && c.Finding != "" && (c.Metric == "steps" || c.Metric == "seconds_to_target") {
					points = append(points, sentence(c.Finding))
				}
			}
		}
		if text := secondaryProse(s); text != "" && len(points) > shown {
			points = append(points, text)
		}
		if len(points) == shown {
			points = append(points, bestSentence(s))
		}
		if !severalSeeds(s.Results) {
			points = append(points, anecdote)
		}
		blocks = append(blocks, block{List: points})
	}
	return blocks
}

// cutShort warns of a quick look.
func cutShort(r *experiment.Results) string {
	return fmt.Sprintf("A quick look: runs were cut short after epoch %d. These are not the study's full figures.", r.ShortenedTo)
}

const anecdote = "Each experiment ran once. One run has no spread, so differences between experiments show nothing yet: run the study with several seeds."

// bestSentence ranks experiments by test accuracy where no comparison was asked
// for.
func bestSentence(s *study) string {
	m := metricOf("test_accuracy")
	best, worst, finished := -1, -1, 0
	value := func(i int) float64 { v, _ := number(s.Experiments[i].Summary[m.key].Mean); return v }
	for i := range s.Experiments {
		if _, ok := number(s.Experiments[i].Summary[m.key].Mean); !ok {
			continue
		}
		finished++
		if best < 0 || value(i) > value(best) {
			best = i
		}
		if worst < 0 || value(i) < value(worst) {
			worst = i
		}
	}
	switch {
	case best < 0:
		return "No run was finished, so there is no answer yet."
	case finished == 1:
		return fmt.Sprintf("%s reaches a test accuracy of %s.", clean(s.Experiments[best].Name), m.print(value(best)))
	case m.print(value(best)) == m.print(value(worst)):
		return fmt.Sprintf("Every experiment that has a finished run reaches a test accuracy of %s.", m.print(value(best)))
	}
	return fmt.Sprintf("Test accuracy goes from %s (%s) to %s (%s).", m.print(value(worst)), clean(s.Experiments[worst].Name),
		m.print(value(best)), clean(s.Experiments[best].Name))
}

// secondaryProse counts what the comparisons beside the main question show.
func secondaryProse(s *study) string {
	all, shown := 0, map[string]int{}
	var order []string
	for _, c := range withFigures(s.Results) {
		if c.Primary {
			continue
		}
		all++
		if p, ok := number(c.PHolm); ok && p < 0.05 {
			if shown[c.Metric] == 0 {
				order = append(order, c.Metric)
			}
			shown[c.Metric]++
		}
	}
	if all == 0 {
		return ""
	}
	if len(order) == 0 {
		return fmt.Sprintf("Of %s beside the main question none shows a difference after Holm's correction.", plural(all, "comparison"))
	}
	total := 0
	var parts []string
	for _, key := range order {
		total += shown[key]
		parts = append(parts, fmt.Sprintf("%d in %s", shown[key], metricOf(key).name))
	}
	return fmt.Sprintf("Of %s beside the main question %d show a difference after Holm's correction: %s.", plural(all, "comparison"), total, join(parts))
}

func settingProse(studies []*study) string {
	return "A study compares experiments; an experiment is one configuration, trained once with each seed. A training takes steps: in each the network sees one batch of examples and its weights change once. An epoch is one pass over the training examples."
}

func dataProse(d *experiment.DatasetInfo) string {
	text := fmt.Sprintf("%s: grey images of %d x %d pixels in %d classes (%s).", upperFirst(clean(d.Name)), d.Width, d.Height, d.Classes, orMissing(clean(d.Origin)))
	if d.Name == "mnist" {
		text = fmt.Sprintf("MNIST: handwritten digits as grey images of %d x %d pixels (%s).", d.Width, d.Height, orMissing(clean(d.Origin)))
	}
	return text + " The validation examples are set aside from the training examples: nothing is learned from them, and where a study has a stop rule, they decide when training stops. The test examples are looked at once, when training is over."
}

const shapesProse = "A layer's arrays in both conventions. The outputs of the last layer become predictions by softmax: ten probabilities, say, that add up to 1."

func curvesProse(s *study, logarithmic bool) string {
	text := "Each figure shows one experiment, or all at the end: the cost on the training and on the validation examples, at the last look of each epoch."
	if severalSeeds(s.Results) {
		text += " Thin lines are single seeds, thick ones their mean, which ends with the epoch that all seeds reached."
	}
	if logarithmic {
		text += " Where the axis is logarithmic, equal distances on it are equal factors."
	}
	return text
}

func curveAlt(s *study, i int) string {
	return fmt.Sprintf("Training and validation cost by epoch of %s", clean(s.Experiments[i].Name))
}

// curveCaption says in numbers what the curve of an experiment's first run does.
func curveCaption(s *study, i int) string {
	e := &s.Experiments[i]
	text := clean(e.Name) + ": cost by epoch"
	if len(e.Runs) > 0 && e.Runs[0].TrainCostOf == "last_batch" {
		text += "; the training cost is that of one batch"
	}
	text += "."
	best, last, ok := bestLook(&s.files[i][0])
	if !ok {
		return text
	}
	seed := ""
	if len(e.Runs) > 1 {
		seed = fmt.Sprintf(" (seed %d)", e.Runs[0].Seed)
	}
	if best.step == last.step {
		return text + fmt.Sprintf(" The validation cost is lowest at the end: %s in epoch %s%s.", fixed(best.valCost, 3), fixed(float64(best.epoch), 0), seed)
	}
	if best.epoch == last.epoch {
		return text + fmt.Sprintf(" The validation cost is lowest in the last epoch, %s: %s%s.", fixed(float64(best.epoch), 0), fixed(best.valCost, 3), seed)
	}
	if fixed(best.valCost, 3) == fixed(last.valCost, 3) {
		return text + fmt.Sprintf(" The validation cost ends at %s, as low as it was in epoch %s%s.", fixed(last.valCost, 3), fixed(float64(best.epoch), 0), seed)
	}
	return text + fmt.Sprintf(" The validation cost is lowest in epoch %s, %s, and ends at %s%s.",
		fixed(float64(best.epoch), 0), fixed(best.valCost, 3), fixed(last.valCost, 3), seed)
}

// bestLook is the look with the lowest validation cost, and the last one.
func bestLook(r *run) (best, last look, ok bool) {
	if r.lowest.step == 0 {
		return best, last, false
	}
	last = r.last()
	return r.lowest, last, drawable(last.valCost, false)
}

func overlayCaption(s *study, name string) string {
	text := name + " of all experiments"
	if severalSeeds(s.Results) {
		text += ", mean over the seeds"
	}
	return text + ". Where fewer curves are seen than named, some lie under others."
}

func comparisonProse(s *study) string {
	text := "Dots are means, bars their 95 % intervals, pale dots single seeds."
	if !severalSeeds(s.Results) {
		text = "Each experiment ran once, so there is one dot each and no interval."
	}
	text += " For steps and seconds less is fewer or faster, which is an advantage only when accuracy does not pay for it."
	if v, ok := number(s.Target); ok {
		text += fmt.Sprintf(" The target is a validation accuracy of %s, named before the runs.", lambdaText(v))
	}
	if missed := unreached(s.Results); missed != "" {
		text += " " + missed
	}
	if anyTiming(s.Results) {
		text += " Time per step is measured with no other run beside it, the experiments taking turns."
	}
	return text
}

func dotCaption(s *study, key string) string {
	m := metricOf(key)
	text := upperFirst(m.name)
	if !strings.Contains(m.name, m.unit) {
		text += " in " + m.unit
	}
	if key == s.Primary {
		text += ", the primary measure"
	}
	if m.better != "" {
		text += fmt.Sprintf(" (%s)", m.better)
	}
	text += "."
	if key == "us_per_step" {
		return text + " The dot is the median of the repeats, pale dots are the repeats."
	}
	if missed := missedTarget(s, key); missed != "" {
		text += " " + missed
	}
	return text
}

// unreached says so where there is a target that no run reached.
func unreached(r *experiment.Results) string {
	v, ok := number(r.Target)
	if !ok || slices.ContainsFunc(r.Experiments, func(e experiment.Experiment) bool {
		return slices.ContainsFunc(e.Runs, func(r experiment.Run) bool { return r.StepsToTarget != nil })
	}) {
		return ""
	}
	return fmt.Sprintf("No run reached the target, validation accuracy %s: there are no steps and seconds to it.", lambdaText(v))
}

// missedTarget says which experiments had runs that never reached the target.
func missedTarget(s *study, key string) string {
	if !strings.HasSuffix(key, "_to_target") {
		return ""
	}
	var parts []string
	for i := range s.Experiments {
		e := &s.Experiments[i]
		missed := 0
		for k := range e.Runs {
			if e.Runs[k].StepsToTarget == nil {
				missed++
			}
		}
		if missed > 0 {
			parts = append(parts, fmt.Sprintf("%s in %d of %s", clean(e.Name), missed, plural(len(e.Runs), "run")))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "Never reached, and left out: " + join(parts) + "."
}

// anyTiming says whether some experiment was timed alone.
func anyTiming(r *experiment.Results) bool {
	return slices.ContainsFunc(r.Experiments, func(e experiment.Experiment) bool { return e.Timing != nil })
}

func timeProse(s *study) string {
	text := "Wall time is of one run after the other."
	if sharedCores(s.Results) {
		text = "Wall time is of runs that shared the cores with others, so it says little about an experiment."
	}
	if anyTiming(s.Results) {
		text += " Timed alone, experiments take turns; the last of our columns is that time per step, times the steps, without the looks at the validation set."
	}
	if isReplay(s) {
		text += " The published seconds come from another machine and another program: they stand here to be seen, not to be compared."
	}
	return text
}

// confusionProse names the pair of classes that is confused most.
func confusionProse(v *experiment.Evaluation) string {
	most, from, to := 0, 0, 0
	for label, r := range v.Confusion {
		for predicted, n := range r {
			if label != predicted && n > most {
				most, from, to = n, label, predicted
			}
		}
	}
	var parts []string
	if a, ok := number(v.Accuracy); ok {
		parts = append(parts, fmt.Sprintf("%s of %s test examples are right.", percent(a), fixed(float64(v.Examples), 0)))
	}
	if most > 0 {
		parts = append(parts, fmt.Sprintf("The most frequent mistake: %d taken for %d, %s.", from, to, times(most)))
	}
	never := []string{}
	for _, c := range v.PerClass {
		if c.Precision == nil && c.Support > 0 {
			never = append(never, fmt.Sprint(c.Class))
		}
	}
	if len(never) > 0 {
		parts = append(parts, "Never predicted at all: "+join(never)+".")
	}
	return strings.Join(parts, " ")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fixed(float64(n), 0) + " times"
}

const mistakesProse = "Wrong answers that the network is surest of. Some are hard for people too; others show what it has not learned."

func evidenceIntro(s *study, name string, faults int) string {
	count := map[int]string{2: "Two", 3: "Three"}[faults]
	if isReplay(s) {
		return fmt.Sprintf("The published table says that batch norm halves the steps and costs thirteen points of accuracy. What ran there, and runs again here as %s, is something else. %s things are wrong with it:", name, count)
	}
	return fmt.Sprintf("%s uses the normalisation of the published study, which is not batch normalisation. %s things are wrong with it:", name, count)
}

func evidenceFaults(s *study, at int) []string {
	c := s.Experiments[at].Config
	derivative := "A missing derivative. The backward pass hands the gradient on as though nothing had been normalised. "
	if c.Place == experiment.PlaceBefore || c.Activation == "relu" { // which a factor goes through
		derivative += "Making all weights and biases of a layer larger by one factor changes nothing behind the normalisation, which divides the factor out again, so the true gradient has no part in that direction."
	} else {
		derivative += "What comes behind the normalisation knows neither the mean nor the size of what went in, so the true gradient has no part in these two directions."
	}
	faults := []string{
		"The wrong axis. Batch normalisation takes mean and variance of one unit over the examples of a batch. Here they are taken of one example over the units of a layer, so that each example is scaled by itself. Mean and size of a layer's output are thrown away, and no scale and shift are learned that could bring them back.",
		derivative + " The wrong one has, and each step follows it.",
	}
	if c.Stop == experiment.StopPublished {
		faults = append(faults, fmt.Sprintf("A stop rule that fires on a coincidence. Training stops when two looks in a row differ by less than %s in validation cost, in either direction. That asks for no minimum: two values that happen to agree are enough, so the number of steps says nothing about how fast a network learns.", lambdaText(c.Criterion)))
	}
	return faults
}

// growthProse says what the weights of the published normalisation did.
func growthProse(s *study, at, beside int) string {
	name := clean(s.Experiments[at].Name)
	first := &s.files[at][0]
	if len(first.epochs) == 0 {
		return ""
	}
	sum := first.last().sumOfW
	if v, ok := number(s.Experiments[at].Runs[0].SumOfWeights); ok {
		sum = v
	}
	text := fmt.Sprintf("The sum of all weights of %s ends at %s", name, scientific(sum, 6))
	if beside >= 0 && len(s.Experiments[beside].Runs) > 0 {
		if other, ok := number(s.Experiments[beside].Runs[0].SumOfWeights); ok {
			text += fmt.Sprintf(", beside %s in %s", scientific(other, 3), clean(s.Experiments[beside].Name))
			switch ratio := math.Abs(sum / other); {
			case other == 0 || !drawable(ratio, false):
			case ratio >= 10:
				text += fmt.Sprintf(": %s times as much", about(ratio))
			default:
				text += ": here the weights did not run away"
			}
		}
	}
	text += "."
	growth, layer := 0.0, ""
	for i, n := range first.norms {
		from, to := first.epochs[0].norms[i], first.last().norms[i]
		if from > 0 && drawable(to/from, false) && to/from > growth {
			growth, layer = to/from, n
		}
	}
	switch {
	case growth >= 2:
		text += fmt.Sprintf(" The norm of %s grows to %s times what it was after the first epoch, and nothing holds it.", clean(layer), about(growth))
	case layer != "":
		text += " No layer's norm doubles after the first epoch."
	}
	return text
}

// gradientProse says how the gradient check came out.
func gradientProse(name string, e *experiment.Evidence) string {
	n := len(e.Checks)
	if n == 0 {
		return "The gradients of " + name + " were not checked."
	}
	var text string
	if undefined, failed := failures(e.Checks, e.Failed); failed > 0 {
		text = fmt.Sprintf("Its gradient is wrong: of %s of %s, the largest of each layer but the last, checked against finite differences %d fail, %s.",
			plural(n, "gradient"), name, failed, worstText(undefined, "a relative difference of ", e.WorstRelative))
		far := slices.MaxFunc(e.Checks, func(a, b experiment.GradientCheck) int { return cmp.Compare(distance(a), distance(b)) })
		text += fmt.Sprintf(" For %s Backward says %s where the measured slope is %s.", clean(far.Parameter), scientificOr(far.Analytic, 3), scientificOr(far.Numeric, 3))
	} else {
		text = fmt.Sprintf("All %s of %s checked against finite differences are right, to a relative difference of %s.", plural(n, "gradient"), name, scientificOr(e.WorstRelative, 2))
	}
	if e.Twin == "" {
		return text
	}
	if len(e.TwinChecks) == 0 {
		return text + fmt.Sprintf(" With %s in its place nothing could be checked: its step left the finite numbers, or no difference could be measured, across a kink or a sharp bend.", kindText(e.Twin))
	}
	if undefined, failed := failures(e.TwinChecks, e.TwinFailed); failed > 0 {
		return text + fmt.Sprintf(" With %s in its place %d fail, %s.", kindText(e.Twin), failed, worstText(undefined, "", e.TwinWorst))
	}
	return text + fmt.Sprintf(" With %s in its place, in the same network, none fails (worst %s).", kindText(e.Twin), scientificOr(e.TwinWorst, 2))
}

// distance is how far a gradient is from its finite difference: infinite where one
// of them is undefined.
func distance(c experiment.GradientCheck) float64 {
	analytic, okAnalytic := number(c.Analytic)
	numeric, okNumeric := number(c.Numeric)
	if !okAnalytic || !okNumeric {
		return math.Inf(1)
	}
	return math.Abs(analytic - numeric)
}

// failures counts the undefined among checks, and all that fail: those are among
// them.
func failures(checks []experiment.GradientCheck, counted int) (undefined, failed int) {
	for _, c := range checks {
		if math.IsInf(distance(c), 1) {
			undefined++
		}
	}
	return undefined, max(undefined, counted)
}

// worstText says how badly checks fail.
func worstText(undefined int, by string, worst *float64) string {
	if undefined > 0 {
		return fmt.Sprintf("%d of them without a finite number", undefined)
	}
	return "the worst by " + by + scientificOr(worst, 2)
}

// stopProse shows the stop rule at work: what the last two looks of each run
// were, and how far that is from the best.
func stopProse(s *study) string {
	var parts []string
	for i := range s.Experiments {
		e := &s.Experiments[i]
		if len(s.files[i]) == 0 || e.Runs[0].Stopped != "criterion" || len(s.files[i][0].epochs) == 0 {
			continue
		}
		r := &s.files[i][0]
		best, last, ok := bestLook(r)
		if !ok || !drawable(r.beforeLast.valCost, false) {
			continue
		}
		part := fmt.Sprintf("%s stopped in epoch %s because two looks in a row differ by %s (%s and %s)", clean(e.Name),
			fixed(float64(last.epoch), 0), scientific(math.Abs(last.valCost-r.beforeLast.valCost), 2),
			fixed(r.beforeLast.valCost, 6), fixed(last.valCost, 6))
		if fixed(best.valCost, 3) != fixed(last.valCost, 3) {
			part += fmt.Sprintf("; its lowest validation cost was %s, in epoch %s", fixed(best.valCost, 3), fixed(float64(best.epoch), 0))
		}
		parts = append(parts, part+".")
	}
	if len(parts) == 0 {
		return "No run of this study was stopped by that rule."
	}
	return "The stop rule at work: " + strings.Join(parts, " ")
}

// smallPrint says what the published rows cannot show.
func smallPrint(s *study) []string {
	var points []string
	for i := range s.Experiments {
		e := &s.Experiments[i]
		if e.L2 == 0 || len(e.Runs) == 0 {
			continue
		}
		penalty, okPenalty := number(e.Runs[0].Penalty)
		cost, okCost := number(e.Runs[0].ValCost)
		if !okPenalty || !okCost {
			continue
		}
		form := "the published study calls it L2 normalization"
		if e.Config.L2Form == experiment.L2Published {
			form += "; it adds lambda times the sum of all entries of WᵀW, of which lambda·w, by which it changes the gradient, is not the derivative"
		}
		text := fmt.Sprintf("%s has an L2 penalty with lambda %s (%s). It ends at %s beside a validation cost of %s",
			clean(e.Name), lambdaText(e.L2), form, scientific(penalty, 2), fixed(cost, 3))
		if math.Abs(penalty) < 0.0005 {
			text += ": it changes nothing that can be measured. What sets this row apart is its own random split and weights."
		} else {
			text += "."
		}
		points = append(points, text)
	}
	if !severalSeeds(s.Results) {
		points = append(points, "One run each: there is no spread, so no conclusion about what batch norm or L2 do.")
	}
	return points
}

// kindText is a layer's kind in words: batch norm.
func kindText(kind string) string { return clean(strings.ReplaceAll(kind, "_", " ")) }

func orMissing(s string) string {
	if s == "" {
		return missing
	}
	return s
}

const reproduceProse = "These commands run the studies again. The same seed gives the same figures on any number of threads; only the seconds differ."

var glossary = []term{
	{"batch", "The examples that one step looks at together."},
	{"batch normalisation", "A layer that brings each unit to mean 0 and variance 1 over the examples of a batch, then scales and shifts it by two learned numbers; for predictions it uses running averages (Ioffe and Szegedy, 2015)."},
	{"confusion matrix", "How often each label (row) was predicted as each class (column)."},
	{"cost", "The mean over examples of -ln(probability given to the label), in nats; 2.303 is guessing among ten classes. The published cross entropy adds 1e-8 to that probability. A penalty, where there is one, is said apart; only the costs of the published study include it."},
	{"epoch", "One pass over all training examples."},
	{"gradient check", "Comparing a derivative from the backward pass with the slope measured by moving a weight a little up and down."},
	{"Holm's correction", "Makes p values larger when several comparisons of a family are made at once, so that chance alone is not taken for a finding."},
	{"L2 penalty", "Lambda/2 times the sum of the squared weights, added to the cost (the published study calls it L2 normalization, and adds lambda times the sum of all entries of WᵀW instead)."},
	{"look", "A moment in training at which cost and accuracy on the validation set are taken."},
	{"paired by seed", "Two experiments are compared seed by seed: same split, and the same initial weights where shapes allow."},
	{"precision, recall, F1", "Of the examples predicted as a class, the share that is right; of the examples of a class, the share that is found; the harmonic mean of both."},
	{"seed", "The number from which all random choices of a run follow."},
	{"step", "One update of the weights. The published table calls it iteration."},
	{"95 % interval", "Made in this way from other seeds again and again, it would hold the mean over very many seeds 95 times in 100 (Student's t)."},
}
