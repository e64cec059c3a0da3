package notify

import (
	"time"
)

func (o *Outbox) resting(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.config.Now().Before(o.rests[name].until)
}

// rest leaves a notifier alone, longer each time.
func (o *Outbox) rest(name string, asked time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rests[name]
	r.failures++
	pause := max(grow(restFirst, restLongest, r.failures), min(asked, askedLongest))
	r.until = o.config.Now().Add(pause)
	o.rests[name] = r
	return pause
}

func (o *Outbox) rested(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.rests, name)
}

// grow doubles a pause with each try, up to the longest.
func grow(first, longest time.Duration, tries int) time.Duration {
	pause := first
	for i := 1; i < tries && pause < longest; i++ {
		pause *= 2
	}
	return min(pause, longest)
}
