-- Id of the API key that a response belongs to; NULL = it is the server's owner's.
ALTER TABLE responses ADD COLUMN owner TEXT;
