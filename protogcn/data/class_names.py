"""Names of the classes of the catalogue's benchmarks, in label order, where they are public knowledge."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(";"))


NTU_RGBD_120 = _names(
    """
    drink water; eat meal; brush teeth; brush hair; drop; pick up; throw; sit down; stand up; clapping; reading;
    writing; tear up paper; put on jacket; take off jacket; put on a shoe; take off a shoe; put on glasses;
    take off glasses; put on a hat/cap; take off a hat/cap; cheer up; hand waving; kicking something;
    reach into pocket; hopping; jump up; phone call; play with phone/tablet; type on a keyboard; point to something;
    taking a selfie; check time (from watch); rub two hands; nod head/bow; shake head; wipe face; salute;
    put palms together; cross hands in front; sneeze/cough; staggering; falling down; headache; chest pain;
    back pain; neck pain; nausea/vomiting; fan self; punch/slap; kicking; pushing; pat on back; point finger;
    hugging; giving object; touch pocket; shaking hands; walking towards; walking apart; put on headphone;
    take off headphone; shoot at basket; bounce ball; tennis bat swing; juggle table tennis ball; hush; flick hair;
    thumb up; thumb down; make OK sign; make victory sign; staple book; counting money; cutting nails;
    cutting paper; snap fingers; open bottle; sniff/smell; squat down; toss a coin; fold paper; ball up paper;
    play magic cube; apply cream on face; apply cream on hand; put on bag; take off bag; put object into bag;
    take object out of bag; open a box; move heavy objects; shake fist; throw up cap/hat; capitulate; cross arms;
    arm circles; arm swings; run on the spot; butt kicks; cross toe touch; side kick; yawn; stretch oneself;
    blow nose; hit with object; wield knife; knock over; grab stuff; shoot with gun; step on foot; high-five;
    cheers and drink; carry object; take a photo; follow; whisper; exchange things; support somebody;
    rock-paper-scissors
    """
)
NTU_RGBD_60 = NTU_RGBD_120[:60]

NW_UCLA = _names(
    """
    pick up with one hand; pick up with two hands; drop trash; walk around; sit down; stand up; donning; doffing; throw;
    carry
    """
)

UTD_MHAD = _names(
    """
    swipe left; swipe right; wave; clap; throw; arm cross; basketball shoot; draw x; draw circle clockwise;
    draw circle counterclockwise; draw triangle; bowling; boxing; baseball swing; tennis swing; arm curl; tennis serve;
    push; knock; catch; pickup and throw; jog; walk; sit to stand; stand to sit; lunge; squat
    """
)

MSR_ACTION3D = _names(
    """
    high arm wave; horizontal arm wave; hammer; hand catch; forward punch; high throw; draw x; draw tick; draw circle;
    hand clap; two hand wave; side boxing; bend; forward kick; side kick; jogging; tennis swing; tennis serve;
    golf swing; pick up and throw
    """
)

UTKINECT = _names("walk; sit down; stand up; pick up; carry; throw; push; pull; wave hands; clap hands")

SBU = _names("approaching; departing; kicking; pushing; shaking hands; hugging; exchanging object; punching")

PENN_ACTION = _names(
    """
    baseball pitch; baseball swing; bench press; bowl; clean and jerk; golf swing; jump rope; jumping jacks; pullup;
    pushup; situp; squat; strum guitar; tennis forehand; tennis serve
    """
)
