package prom

// PartsLimit and PartsOf are how many parts an answer may have, and how many a text has.
const PartsLimit = partsLimit

// PartsOf counts the parts of a text.
func PartsOf(text []byte) int { return partsOf(text) }
