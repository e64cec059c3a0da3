package schedule

// OfSchedule is the condition of the last occurrences of a schedule.
const OfSchedule = ofSchedule
