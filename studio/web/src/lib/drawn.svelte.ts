// The last drawing, as the network gets it, so that See through can open it.

class Drawn {
  pixels = $state.raw<string | null>(null) // base64, width × height bytes
  label = $state(0) // what the person meant
  assumed = $state(true) // the person has not said, and the label is what the network says
}

export const drawn = new Drawn()
