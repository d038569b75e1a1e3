"""What the document says of the API, of its tags and of each operation. A test fails where a text is missing."""

from collections.abc import Mapping

TITLE = "Rapport"
SUMMARY = "Posts, comments and notifications."
CONTACT = "Those who run this site"
INTRODUCTION = """
The public API, v1, of a site for posts and discussions. `/docs` explains it step by step, with commands to run.

- **Form**: JSON in UTF-8, snake_case. Ids are UUIDs, taken in any case of letters. Times are RFC 3339 in UTC with three
  fraction digits. Clients ignore fields that they do not know; unknown fields and query parameters of a request are
  refused.
- **Sign-in**: `Authorization: Bearer` with an access token. A token that is sent and not valid is refused on public
  reads too.
- **Refusals**: every 4xx and 5xx is a problem (RFC 9457) whose `type` names a page that explains it. Beside those that
  each operation lists there are `method-not-allowed` (405), `request-timeout` (408), `headers-too-large` (431) and
  `internal` (500).
- **Lists**: `items` and `next`; give `next` back as `cursor`. The header `Link` says the same.
- **Repeating a write**: with an `Idempotency-Key` it is carried out once.
- **Caching**: every 200 of a GET has a strong `ETag`; with `If-None-Match` the answer may be 304.
- **Limits**: `RateLimit` and `RateLimit-Policy` on answers to writes; `Retry-After` on 429 and 503.
- **Browsers**: every origin may call (CORS), with a Bearer token and never with cookies.
""".strip()

TAGS: Mapping[str, str] = {
    "sign-in": "Register, sign in by a mail, renew and end sessions. These answers are never stored.",
    "posts": "Posts, their revisions and pictures. Writing them takes the role of an author.",
    "comments": "The discussion of a post, a tree, and decisions of moderators about it.",
    "people": "Public profiles, and your own account.",
    "notifications": "What you are told of by mail, why, and whether you want it.",
}

OPERATIONS: Mapping[str, str] = {
    # sign-in
    "register": "Sends a mail with a link that signs in and a code of 8 digits that does the same, also to an address "
    "that is known already: the answer is the same in about the same time. It names the `request` that `createSession` "
    "takes together with the code. With `return_to` and `challenge` the link leads back to a front end elsewhere. "
    "Nothing changes before the link or the code is used. Asking again does not void earlier links.",
    "requestSignIn": "Sends a mail with a link that signs in and a code of 8 digits that does the same, if the address "
    "is known. The answer is the same in about the same time whether it is or not; it names the `request` that "
    "`createSession` takes together with the code. With `return_to` and `challenge` the link leads back to a front end "
    "elsewhere. A link works once, for ten minutes, and so does its code.",
    "createSession": "Starts a session and returns an access token and a refresh token. The fields tell the three ways "
    "apart: the `token` of a mailed link; the `code` of 8 digits in a mail, with the `request` that asked for that "
    "mail; or the `code` that a link led back to a front end elsewhere with, once and within 60 seconds, with the "
    "`verifier` of its `challenge` (RFC 7636, S256). A link works once: used or expired 410, unknown 404. A code that "
    "is wrong, unknown, used, expired or was tried too often is 401 `invalid-code`, whatever the reason.",
    "refreshSession": "Exchanges a refresh token for a new pair; the old one is used up. Using it again ends the "
    "session, unless that is the same request within 60 seconds with the same `Idempotency-Key`: when the first "
    "answer was lost, a new pair is given and the lost one is void.",
    "listSessions": "Lists where you are signed in, newest first. No address is kept of a client, and of its last use "
    "only the hour.",
    "endOneSession": "Ends one of your sessions: its refresh token at once, its access tokens within a minute. A "
    "repetition changes nothing.",
    "endOtherSessions": "Ends all your sessions but the one that this request is sent with, and every sign-in that a "
    "front end elsewhere has still to fetch.",
    "endSession": "Ends the session of the access token that is sent: its refresh token at once, its access tokens "
    "within 60 seconds.",
    # posts
    "createPost": "Creates a draft, with `publish` a published post, or with `publish_at` one that is published by "
    "itself at that time, at most 2 seconds late while everything runs, else as soon as it does again. Without a "
    "`slug` one is made from the title, and gets `-2` if it is taken; a given one that is taken is 422. A post just "
    "published takes comments as soon as the discussion has heard of it, normally well under a second; until then "
    "that is 503 with `Retry-After`.",
    "listPosts": "Lists published entries by the time of their publication, newest first, without their texts: all, or "
    "those of a `tag`, an `author` or another `kind`. With another `status` it lists your own by the time of their "
    "creation, and needs a sign-in; those of others are absent, but for admins.",
    "getPost": "Returns a post with its text. Drafts and withdrawn posts are there for their author and admins only; "
    "for everybody else 404.",
    "getPostPage": "Returns the post, the first page of its comments, their number and who is signed in, in one "
    "answer. Only the post is required: a part that could not be had in time is null and named in `unavailable`.",
    "editPost": "Changes what is sent and leaves the rest. A changed title or body makes, once published, a new "
    "revision and sets `edited_at` and `edit_note`; tags, excerpt, cover and `publish_at` do neither. For its author, "
    "while an author, and admins.",
    "deletePost": "Deletes a draft with its revisions, for good; its slug is free again. The second time 404. What was "
    "ever published can only be withdrawn, and the time of a scheduled one is taken back first (409).",
    "listTags": "Lists the tags of published posts with the number of posts, the most used first, then by the tag.",
    "previewText": "Renders a text as a post or a comment would be, and refuses it as they would be, without storing "
    "it. At most 30 a minute.",
    "publishPost": "Publishes a draft, a scheduled one at once, or a withdrawn post again; twice changes nothing. "
    "`published_at` is set once.",
    "withdrawPost": "Takes a published post back: it and its comments are 404 then for everybody but its author and "
    "admins. Twice changes nothing; a draft, scheduled or not, cannot be withdrawn (409).",
    "listRevisions": "Lists the texts that a post has had since it was published, and the one before, newest first, to "
    "whoever may read the post.",
    "createImage": "Takes a picture as it is, PNG, JPEG, WebP or GIF of at most 5 MiB and 8,192 × 8,192 pixels, and "
    "stores it as WebP: at most 2,048 pixels wide, upright, the first frame alone, in common colours, and without "
    "what the file says of its place, time and camera. Put `url` into the text of a post, or `id` into its `cover`. A "
    "picture that no text, revision or cover shows goes after a day. At most 60 an hour.",
    "getRevision": "Returns one text that a post has had, to whoever may read the post. With `against` also what leads "
    "to it from another one: `equal` and `delete` together are that one's `body`, `equal` and `insert` this one's. "
    "Words are compared, and lines where that would take too long. At most 120 comparisons a minute.",
    "blankRevision": "Takes away the title, the text and the note of a former revision, for good: they are null from "
    "then on. The present one cannot be taken away (409), only changed first. For the author of the post, in whatever "
    "role, and admins; the second time 204, too.",
    "getSite": "Names the site, for front ends elsewhere.",
    # comments
    "postComment": "Posts a comment, or with `parent_id` a reply to another one of the same post, at most 100 deep. "
    "For everybody who is signed in. `state` in the answer says whether it is visible or waits for a moderator. Send "
    "an `Idempotency-Key`, the same for each try of one text: then a repeated request never posts twice.",
    "listComments": "Lists the comments at the top, each with the beginning of its replies. `limit` counts the outer "
    "list; how many replies come along is the server's choice, at most 1,000 comments an answer. `next` leads on in "
    "this list, `replies.next` of a comment at `/v1/comments/{comment_id}/replies`: whoever follows every `next` sees "
    "every comment exactly once.",
    "listCommentsByState": "Lists comments in that state across all published posts, for moderators: the queue of what "
    "waits, oldest first, or what was removed, newest first.",
    "countComments": "Returns how many comments each of up to 100 posts shows to everybody: for lists that were made "
    "elsewhere. A post that is not there, or not published, has 0.",
    "getCommentContext": "Returns a comment with the beginning of its replies, the comments above it, and its post: "
    "what a link to a comment opens. To whoever may see the comment.",
    "getComment": "Returns a comment with the beginning of its replies. A held one is 404 for everybody but its author "
    "and moderators; a removed one that still has shown replies is a tombstone.",
    "listMyComments": "Lists what you wrote below published posts, newest first, each without its replies; what waits "
    "for a moderator, too. What was removed is in the export alone.",
    "listReplies": "Lists the direct replies to a comment, oldest first, each with the beginning of its own. This is "
    "where `replies.next` of a comment leads.",
    "editComment": "Replaces the text, within a limited time after posting (15 minutes unless the site says "
    "otherwise). For its author alone. A held comment stays held; a removed one is 404.",
    "deleteComment": "Removes a comment, for its author and moderators. What its author removes is blanked and cannot "
    "be restored. 204 also the second time.",
    "holdComment": "Takes a visible comment out of sight until a moderator decides. Twice changes nothing.",
    "approveComment": "Makes a held comment visible. Twice changes nothing.",
    "rejectComment": "Removes a held or visible comment; moderators still read it and may restore it. Twice changes "
    "nothing.",
    "restoreComment": "Makes a comment visible again that a moderator removed. What its author removed is gone (409).",
    # people
    "getPerson": "Returns what everybody may know of a person: never an address.",
    "getMe": "Returns your own account, with your address and what you may do.",
    "editMe": "Changes your name, or what you say of yourself, everywhere, within moments. What you leave out stays.",
    "exportMe": "Returns one document with everything that is kept of you: your account, sessions, posts of any status "
    "with all their texts and pictures, comments in any state, your mail settings, what you follow and your "
    "notifications. It is complete or refused: while a part is away, 503. At most 3 an hour.",
    "setAvatar": "Shows a picture beside your name: PNG, JPEG, WebP or GIF of at most 1 MiB, of which a square of "
    "256 × 256 pixels is cut out of the middle. It is stored as WebP, upright, without what the file says of its "
    "place, time and camera. At most 60 an hour.",
    "deleteAvatar": "Takes the picture away, everywhere, within moments. Without one nothing changes.",
    "deleteMe": "Deletes your account: every session ends and no mail is sent any more.",
    # notifications
    "listNotifications": "Lists the comments that you are told of, newest first, and what became of each mail.",
    "explainNotification": "Says of any comment that you may see, or were told of, why you did or did not get a mail, "
    "also after it was removed.",
    "getMailSettings": "Returns whether you are told by mail.",
    "editMailSettings": "Chooses which mail you get: the way back after an unsubscribe. Sign-in mail always goes on.",
    "markNotificationsRead": "Marks a notification as read, with all that are older. What was read stays read.",
    "makeFeed": "Makes a new secret address for an Atom feed of the newest answers to you, and ends the earlier one.",
    "endFeed": "Ends the address. A repetition changes nothing.",
    "followPost": "From now on you are notified of every new comment there. A repetition changes nothing.",
    "unfollowPost": "You are notified of what concerns you otherwise. A repetition changes nothing.",
}
