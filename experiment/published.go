package experiment

import (
	"fmt"
	"math"
	"strconv"
)

// publishedTable is the table of the published study, figure by figure as it was
// printed. The seconds are of the author's machine.
var publishedTable = []struct {
	experiment string
	figures    [7]string // in the order of publishedColumns
	seconds    float64
	steps      int // the second figure
}{
	{"exp1", [7]string{"244", "91,425", "0.973", "0.930", "0.934", "0.074", "0.297"}, 235, 91425},
	{"exp2", [7]string{"124", "46,325", "0.807", "0.808", "0.807", "0.622", "0.715"}, 158, 46325},
	{"exp3", [7]string{"250", "93,750", "0.976", "0.935", "0.932", "0.034", "0.288"}, 257, 93750},
}

var publishedColumns = [7]string{
	"# of Epochs", "# of Iterations", "Train Accuracy", "Val Accuracy", "Test Accuracy", "Train Cost", "Val Cost",
}

// comparePublished prints the figures of the first run of each experiment as the
// published table does, accuracies rounded and costs cut off after three decimals,
// and marks each as equal or not.
func comparePublished(experiments []Experiment) []PublishedRow {
	var rows []PublishedRow
	for i, published := range publishedTable {
		row := PublishedRow{Experiment: published.experiment, Seconds: published.seconds, AllEqual: true}
		var ours [7]string
		if runs := experiments[i].Runs; len(runs) > 0 {
			r := runs[0]
			ours = [7]string{
				strconv.Itoa(r.Epochs), thousands(r.Steps),
				rounded(r.TrainAccuracy), rounded(r.ValAccuracy), rounded(r.TestAccuracy),
				cutOff(r.TrainCost), cutOff(r.ValCost),
			}
		}
		for c, column := range publishedColumns {
			f := Figure{Column: column, Published: published.figures[c], Ours: ours[c]}
			f.Equal = f.Published == f.Ours
			row.AllEqual = row.AllEqual && f.Equal
			row.Figures = append(row.Figures, f)
		}
		rows = append(rows, row)
	}
	return rows
}

// EqualFigures counts the published figures that came out equal, and all of them.
func (r *Results) EqualFigures() (equal, all int) {
	for _, row := range r.Published {
		for _, f := range row.Figures {
			all++
			if f.Equal {
				equal++
			}
		}
	}
	return equal, all
}

// thousands prints n with commas: 91,425.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// rounded prints three decimals as numpy rounds: v·1000 to the nearest integer,
// ties to even. So 0.9295, which binary holds as a little less, is 0.930.
func rounded(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.3f", math.RoundToEven(*v*1000)/1000)
}

// cutOff prints three decimals without rounding.
func cutOff(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.3f", math.Trunc(*v*1000)/1000)
}
