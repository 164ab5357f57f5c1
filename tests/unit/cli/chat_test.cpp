#include "cli/chat.h"

#include <gtest/gtest.h>

namespace hadal {
namespace {

TEST(ChatPath, NamesThatAreFileNames) {
  EXPECT_EQ(chat_path("/home", "idea"), "/home/chats/idea.json");
  EXPECT_EQ(chat_path("/home", "two turns"), "/home/chats/two turns.json");
  EXPECT_EQ(chat_path("/home", "中文"), "/home/chats/中文.json");
  EXPECT_TRUE(chat_path("/home", std::string(kChatNameBytesMax, 'a')));
}

TEST(ChatPath, NoWayOutOfTheFolder) {
  for (const char* name :
       {"", ".", "..", ".hidden", "../x", "a/b", "/etc/passwd", "a\nb", "a\x7f"}) {
    EXPECT_FALSE(chat_path("/home", name)) << name;
  }
  EXPECT_FALSE(chat_path("/home", std::string(kChatNameBytesMax + 1, 'a')));
}

}  // namespace
}  // namespace hadal
