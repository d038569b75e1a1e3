-- outside a transaction
-- Which pictures are in use: as a cover, in a post's text, in the text of a revision.
drop index concurrently if exists posts_cover;
create index concurrently posts_cover on posts (cover) where cover is not null;
drop index concurrently if exists posts_images;
create index concurrently posts_images on posts using gin (image_ids(body)) where position('/images/' in body) > 0;
drop index concurrently if exists revisions_images;
create index concurrently revisions_images on revisions using gin (image_ids(body)) where position('/images/' in body) > 0;
