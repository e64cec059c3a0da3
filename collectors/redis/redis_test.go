package redis_test

import (
	"testing"

	"github.com/ai-micro-service/upkeep/collectors/collectortest"
	"github.com/ai-micro-service/upkeep/collectors/redis"
)

func TestServer(t *testing.T) {
	collectortest.Redis(t, redis.Server, "testdata/server.txtar")
}

func TestMemory(t *testing.T) {
	collectortest.Redis(t, redis.Memory, "testdata/memory.txtar")
}

func TestPersistence(t *testing.T) {
	collectortest.Redis(t, redis.Persistence, "testdata/persistence.txtar")
}

func TestPersistenceSaved(t *testing.T) {
	collectortest.Redis(t, redis.Persistence, "testdata/persistence_saved.txtar")
}

func TestKeyspace(t *testing.T) {
	collectortest.Redis(t, redis.Keyspace, "testdata/keyspace.txtar")
}
