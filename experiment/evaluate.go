package experiment

import (
	"cmp"
	"slices"

	"glassnet/dataset"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/train"
)

// Evaluate measures a network on every example of set, with the confusion matrix,
// the scores per class and the given number of most confident mistakes.
func Evaluate[T matrix.Float](net *nn.Network[T], loss nn.Loss[T], name string, set *dataset.Set, threads, mistakes int) Evaluation {
	_, outputs := net.Widths()
	e := Evaluation{Dataset: name, Examples: set.Len(), Confusion: make([][]int, outputs)}
	for c := range e.Confusion {
		e.Confusion[c] = make([]int, outputs)
	}
	type mistake struct {
		Digit
		probability float64
	}
	var wrong []mistake
	m := train.NewEvaluator(net, loss, threads).Evaluate(dataset.All(set), func(i int, probabilities []T) {
		label, predicted := int(set.Labels[i]), nn.Argmax(probabilities)
		e.Confusion[label][predicted]++
		if label != predicted {
			p := float64(probabilities[predicted])
			wrong = append(wrong, mistake{Digit{Index: i, Label: label, Predicted: &predicted, Probability: finite(p), Pixels: set.Image(i)}, p})
		}
	})
	e.Cost, e.Accuracy = finite(m.Cost), finite(m.Accuracy)
	if e.Accuracy == nil { // outputs overflow: what was counted means nothing
		e.Confusion, e.PerClass = [][]int{}, []ClassScore{}
		return e
	}
	e.PerClass = scores(e.Confusion)
	slices.SortStableFunc(wrong, func(a, b mistake) int { return cmp.Compare(b.probability, a.probability) })
	for _, m := range wrong[:min(mistakes, len(wrong))] {
		e.Mistakes = append(e.Mistakes, m.Digit)
	}
	return e
}

// scores computes for each class, from confusion[label][predicted],
//
//	precision = right / predicted as this class
//	recall    = right / examples of this class (the support)
//	F1        = 2·precision·recall / (precision + recall) = 2·right / (predicted + support)
func scores(confusion [][]int) []ClassScore {
	all := make([]ClassScore, len(confusion))
	for c := range confusion {
		right, predicted, support := confusion[c][c], 0, 0
		for k := range confusion {
			predicted += confusion[k][c]
			support += confusion[c][k]
		}
		all[c] = ClassScore{
			Class: c, Support: support,
			Precision: ratio(right, predicted), Recall: ratio(right, support), F1: ratio(2*right, predicted+support),
		}
	}
	return all
}

// ratio is undefined, nil, when nothing was counted.
func ratio(part, whole int) *float64 {
	if whole == 0 {
		return nil
	}
	return finite(float64(part) / float64(whole))
}
