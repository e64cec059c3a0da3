package access

// Queued returns how many wait for a place.
func (p *Places) Queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}
