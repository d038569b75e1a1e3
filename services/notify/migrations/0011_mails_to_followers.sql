-- follower: the person is told as one who follows the discussion, for no other reason. Such rows are claimed beside the
-- others, so that a discussion which many follow keeps nobody's answer waiting.
alter table notifications add column follower boolean not null default false;

-- Visible comments of which not all followers of their discussion have a row yet: after_person is the last who has.
create table fan_outs (
    comment_id     uuid        primary key references comments (comment_id),
    after_person   uuid        not null,
    due_at         timestamptz not null,
    correlation_id text,
    causation_id   uuid,
    told_at        timestamptz not null default now()
);
