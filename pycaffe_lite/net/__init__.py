"""From prototxt to running: select, splits, wire, plan, place, and the Net that holds them together."""
