package report

import (
	"fmt"
	"strings"

	"glassnet/experiment"
)

// replayed counts the published figures and those that came out again.
func replayed(r *experiment.Results) (equal, all int, different []string) {
	for _, row := range r.Published {
		for _, f := range row.Figures {
			all++
			if f.Equal {
				equal++
			} else {
				different = append(different, fmt.Sprintf("%s %s: published %s, ours %s",
					clean(row.Experiment), clean(f.Column), clean(f.Published), clean(f.Ours)))
			}
		}
	}
	return equal, all, different
}

// replaySentence says how the replay of the published table went.
func replaySentence(r *experiment.Results) string {
	equal, all, different := replayed(r)
	switch {
	case all == 0:
		return "No published figure could be compared: no experiment finished."
	case r.Dataset.Name != "mnist":
		return fmt.Sprintf("The data is %s, not the MNIST of the published study, so its figures cannot come out again; %d of %d happen to be equal.",
			clean(r.Dataset.Name), equal, all)
	case equal == all:
		return fmt.Sprintf("All %d published figures come out again, digit for digit (the seconds aside: another machine).", all)
	default:
		return fmt.Sprintf("%d of %d published figures come out again; different: %s.", equal, all, strings.Join(different, "; "))
	}
}
