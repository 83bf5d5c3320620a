/** A line of a plot; its x ascend. */
export interface Line {
  x: number[]
  y: number[]
  colour: string // of CSS
  dash?: number[]
  dots?: boolean // at each point
  faint?: boolean
  name?: string // written at its end
}

/** Something that happened at an x. */
export interface Mark {
  x: number
  text: string
  colour: string
}
