package depot

// OpenParcelOf is OpenParcel with another bound, and SealerOf a Sealer.
func OpenParcelOf(name string, content []byte, most int64) (Parcel, []byte, error) {
	return openParcel(name, content, most)
}

// SealerOf returns a Sealer that takes less.
func SealerOf(s Store, most int64) *Sealer {
	z := NewSealer(s)
	z.most = most
	return z
}

// SpoolMemory is how much of an object is kept in memory.
const SpoolMemory = spoolMemory
