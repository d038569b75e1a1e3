-- outside a transaction
-- What these two were for, the two of 0003 and 0004 do, for an old version too.
drop index concurrently if exists comments_held_own;
drop index concurrently if exists comments_visible_of;
