-- Conversations that are kept until somebody deletes them, as trees of items.
CREATE TABLE conversations (
    id TEXT PRIMARY KEY,
    owner TEXT,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    title TEXT NOT NULL DEFAULT '',
    is_title_own INTEGER NOT NULL DEFAULT 0,
    metadata TEXT NOT NULL DEFAULT '{}',
    head_item_id TEXT,
    is_pinned INTEGER NOT NULL DEFAULT 0,
    is_archived INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX conversations_by_use ON conversations (is_pinned, updated_at);
-- Ids are unique within a conversation only: clients send items with ids of their own.
CREATE TABLE conversation_items (
    id INTEGER PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    item_id TEXT NOT NULL,
    parent_id TEXT,
    response_id TEXT,
    is_output INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    num_bytes INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (conversation_id, item_id)
) STRICT;
CREATE INDEX conversation_items_by_parent ON conversation_items (conversation_id, parent_id);
CREATE INDEX conversation_items_by_response ON conversation_items (response_id);
-- What is known of an answer beside its items: the state it is in, who gave it, what it took.
CREATE TABLE conversation_answers (
    response_id TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    after_item_id TEXT,
    created_at REAL NOT NULL,
    status TEXT NOT NULL,
    facts TEXT NOT NULL
) STRICT;
CREATE INDEX conversation_answers_by_conversation ON conversation_answers (conversation_id);
CREATE INDEX conversation_answers_by_status ON conversation_answers (status);
-- The conversation that a response belongs to; it is forgotten with that.
ALTER TABLE responses ADD COLUMN conversation_id TEXT;
CREATE INDEX responses_by_conversation ON responses (conversation_id);
