// The texts of studies as the person has edited them, while the page is open.

/** A small study to begin with. */
export const example = (dataset: string): string => `name = "my-study"
title = "Two learning rates"
question = "Does a higher learning rate help in the first epochs?"
dataset = "${dataset}"
seeds = [1, 2, 3]

# What all experiments share.
[common]
hidden = [20, 7, 5]
batch = 128
epochs = 3

# What each does otherwise.
[[experiment]]
name = "slow"
learning_rate = 0.01

[[experiment]]
name = "fast"
learning_rate = 0.1

[[comparison]]
a = "slow"
b = "fast"
primary = true
`

export const drafts: Record<string, string> = $state({})
